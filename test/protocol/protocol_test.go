package protocol

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var large = flag.Bool("protocol.large", false, "explore more states, which takes minutes and 2 GB")

// limit is how many states an exploration may have. The largest has less than half.
const limit = 80_000_000

// may is w with a number of runs, and with what may fail in it.
func (w World) may(runs int, crashes, lapses, stops uint8) World {
	w.Runs, w.Crashes, w.Lapses, w.Stops = runs, crashes, lapses, stops
	return w
}

func (w World) with(weakness Weakness) World {
	w.Weakness = weakness
	return w
}

func (w World) inHours() World {
	w.Hours = true
	w.Name += ", hours pass"
	return w
}

func (w World) inPieces() World {
	w.Piecewise = true
	w.Name += ", read piece by piece"
	return w
}

// row is a row of the table in docs/reliability.md.
func (w World) row(states int) string {
	var digits strings.Builder
	for i, digit := range fmt.Sprint(states) {
		if i > 0 && (len(fmt.Sprint(states))-i)%3 == 0 {
			digits.WriteByte(',')
		}
		digits.WriteRune(digit)
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %s |",
		w.Name, w.Replicas, len(w.Clients), w.Runs, w.Crashes, w.Lapses, w.Stops, digits.String())
}

var (
	same  = [2]int{0, 0}
	other = [2]int{1, 1}
	cross = [2]int{0, 1}
	back  = [2]int{1, 0}
)

func worlds() []World {
	return []World{
		one(same, same, other, other).may(1, 0, 0, 0),
		one(cross, back).may(1, 1, 1, 1),
		one(same, same).may(1, 1, 1, 1),
		one(same, same).may(2, 1, 0, 0),
		one(same, same).may(2, 0, 1, 0),
		one(same, same).may(2, 0, 0, 1),
		one(same, same).inHours().may(1, 1, 1, 1),
		one(same, same).inPieces().may(1, 1, 1, 1),
		mount().may(1, 1, 0, 1),
		mount().may(1, 0, 1, 0),
		index(false).may(1, 1, 1, 1),
		index(false).may(2, 0, 0, 0),
		index(true).with(LateWrites).may(1, 1, 1, 1),
		young().inPieces().may(1, 1, 0, 1),
		young().may(1, 0, 1, 1),
		cycle().may(2, 1, 0, 0),
		cycle().may(1, 1, 1, 0),
		deletes().may(1, 1, 1, 1),
		deletes().may(2, 0, 0, 0),
	}
}

func largeWorlds() []World {
	return []World{
		one(same, same, other, other).may(1, 1, 0, 0),
		one(same, same, other, other).may(1, 0, 0, 1),
		one(same, same, other, other).may(1, 0, 1, 0),
		one(cross, back).may(2, 0, 0, 1),
		one(same, same).may(2, 1, 0, 1),
		mount().may(1, 1, 1, 1),
		index(false).may(2, 1, 0, 0),
		index(false).may(2, 0, 0, 1),
		young().may(1, 1, 1, 1),
		deletes().may(2, 1, 0, 0),
		deletes().may(2, 0, 0, 1),
	}
}

// Nothing is lost in any order of steps. The table in the documentation has the numbers
// of states.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	explored := worlds()
	if *large {
		explored = append(explored, largeWorlds()...)
	}
	for _, w := range explored {
		t.Run(w.Name, func(t *testing.T) {
			if !*large { // or two of them would need too much memory
				t.Parallel()
			}
			result, err := w.Explore(limit)
			row := w.row(result.States)
			switch {
			case err != nil:
				t.Error(err)
			case result.Failure != "":
				t.Errorf("%s: %s\n%s", row, result.Failure, result.Trace)
			case !strings.Contains(string(document), row):
				t.Errorf("docs/reliability.md does not have the row %s", row)
			default:
				t.Log(row)
			}
		})
	}
}

// Each part of the protocol is needed: without it something is lost, and with it nothing
// in the same world.
func TestEachPartIsNeeded(t *testing.T) {
	t.Parallel()
	childFirst, apart := index(false), cycle()
	childFirst.Batches = []Set{1, 2, 4 | 8 | 16}
	apart.Batches = []Set{4 | 8, 2, 1}
	for _, test := range []struct {
		name     string
		world    World
		weakness Weakness
		failure  fault
		instead  *World // as it should be, if that is not the same world
	}{
		{"no look at the seal after the mark", one(same, same).may(1, 0, 0, 0), NoLookAtSeal, promiseBroken, nil},
		{"no second look", one(same, same).may(1, 1, 0, 0), NoSecondLook, pushBroken, nil},
		{"acknowledged without waiting for older sections", one(same, same).inHours().may(1, 0, 0, 0), AckAtOnce, pushBroken, nil},
		{"no look at the lease", one(same, same).may(1, 0, 1, 0), NoLookAtLease, promiseBroken, nil},
		{"a gap in the lease forgiven", one(same, same).may(1, 0, 1, 0), GapForgiven, promiseBroken, nil},
		{"replicas listed before publishing", one(same, same).may(1, 1, 0, 0), ListFirst, promiseBroken, nil},
		{"serving before reading the runs", one(same, same).may(1, 1, 0, 0), ServeFirst, promiseBroken, nil},
		{"a run abandoned at once", one(same, same).may(1, 0, 0, 1), AbandonAtOnce, promiseBroken, nil},
		{"a dead collector's batch continued at once", one(same, same).may(1, 0, 0, 1), TakenOver, promiseBroken, nil},
		{"one current run for all collectors", one(same, same).may(2, 0, 0, 0), SharedRun, promiseBroken, nil},
		{"a lease renewed without a sign of life", one(same, same).may(1, 0, 0, 0), RenewedUnseen, promiseBroken, nil},
		{"marks at joining taken for rescue", one(same, same).may(1, 0, 1, 0), RecentUnasked, promiseBroken, nil},
		{"commits that do not wait for deletes", one(same, same).may(1, 0, 0, 0), NoWaitOfCommits, promiseBroken, nil},
		{"a collector without a fence", one(same, same).may(1, 0, 0, 1), NoFence, promiseBroken, nil},
		{"new garbage spares nothing", young().may(1, 1, 0, 0), NewGarbageIgnored, pushBroken, nil},
		{"a mark spares only what is marked", index(false).may(1, 0, 0, 0), ShallowMarks, pushBroken, nil},
		{"deletes in any order", index(false).may(1, 0, 0, 1), DeletesInAnyOrder, pushBroken, nil},
		{"writes that nobody waits for", young().may(1, 0, 1, 0), LateWrites, pushBroken, nil},
		{"references in a final list refused", one(cross, back).may(1, 0, 0, 1), RefusedEarly, promiseBroken, nil},
		{"references in a final list that are still stored", index(false).may(1, 0, 0, 0), StillStored, pushBroken, nil},
		{"a child's batch before its parent's", childFirst.may(1, 0, 0, 0), WrongBatches, pushBroken, new(index(false).may(1, 0, 0, 0))},
		{"a component in two batches", apart.may(1, 0, 0, 0), WrongBatches, pushBroken, new(cycle().may(1, 0, 0, 0))},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			weak := test.world.with(test.weakness)
			result, err := weak.Explore(limit)
			if err != nil || result.Failure != test.failure.String() {
				t.Errorf("found %q, %v, and not %q\n%s", result.Failure, err, test.failure, result.Trace)
			}
			t.Logf("%s:\n%s", result.Failure, result.Trace)
			if test.instead != nil {
				test.world = *test.instead
			}
			if result, err := test.world.Explore(limit); err != nil || result.Failure != "" {
				t.Errorf("as it should be: %q, %v\n%s", result.Failure, err, result.Trace)
			}
		})
	}
}
