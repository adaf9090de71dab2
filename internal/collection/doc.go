// Package collection removes what is no longer needed from a storage tree that any number
// of replicas serve, without stopping them, and without a database or a coordinator: all
// that replicas and collectors tell each other are small files below layout.Collection.
//
// Marking alone is not enough. A client asks whether an old layer that nobody needs is
// there, is told yes, and pushes a manifest that needs it: nothing in the storage shows
// that promise in time. So a collector says in public what it is about to remove (Run),
// and every replica objects to what somebody uses (Replica), before anything goes.
//
//   - A Replica registers, and then lists the runs, and then serves. It lists them again
//     every Pace; a list that succeeds renews its lease, if it shows the registration, too.
//   - A collector reads the whole tree, publishes the candidates for removal, and then
//     lists the registrations. Each registered replica installs the candidates, waits until
//     the requests that began before have been answered, marks those candidates that were
//     used within the last hour, and acknowledges.
//   - From then on the first use of a candidate writes a mark, and then asks whether the
//     candidate's batch has been sealed. The collector seals a batch, and then lists the
//     marks. Whichever comes first, one of the two sees the other.
//   - What is marked is spared with all that it reaches. Batches go in an order in which
//     what reaches comes before what is reached, so that nothing spared has lost a part.
//   - Between the acknowledgements and the first seal the collector reads the tree again:
//     what has become reachable is spared, and a link that no replica says it has written
//     ends the run, because somebody writes who does not take part.
//
// These are write-then-read on both sides, and need no clock. Two fences do: a replica
// whose lease has run out answers no guarded request (see Section), and a collector that
// has not renewed its own removes nothing more. They assume that clocks run at about the
// same rate, that a delete which was sent takes effect within five minutes or never, and that
// a process which is stopped after a look at its lease does not go on: see Options.Guard.
//
// One list shows runs and registrations, so that a replica left alone costs one operation
// for each Pace. That it has no second look at its registration after the list is safe. A run
// which is not in the list is published after the list was begun, and lists the registrations
// later still: it finds this one, unless that is removed in between. A collector removes it
// only if the replica has been silent for far longer than the lease that this list renews.
// What somebody else removes is missed at the next list: before that, a second look would
// not have seen it either.
//
// docs/reliability.md has the whole argument, and test/protocol explores it.
package collection
