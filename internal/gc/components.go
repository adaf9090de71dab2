package gc

import "slices"

// components are the manifests that a repository is to lose, in groups: those that reach
// each other are in one, and a group that reaches another comes before it.
func (r *repository) components() []ids {
	t := tarjan{repository: r, visits: make(map[id]*visit, len(r.plan.revisions))}
	for _, n := range r.plan.revisions {
		if t.visits[n] == nil {
			t.from(n)
		}
	}
	slices.Reverse(t.groups) // it finds what is reached first
	return t.groups
}

// waves divides manifests, of which those that reach others come first, into lists that can
// be removed at once: none is reached by one before it in its list. So a run that is
// interrupted never leaves a manifest without what it needs.
func (r *repository) waves(manifests ids) (waves []ids) {
	var wave ids
	reached := map[id]bool{}
	for _, n := range manifests {
		if reached[n] {
			waves, wave = append(waves, wave), nil
			clear(reached)
		}
		wave = append(wave, n)
		for to := range r.needs.from(n) {
			reached[to] = true
		}
		for to := range r.referrers(n) {
			reached[to] = true
		}
	}
	if len(wave) > 0 {
		waves = append(waves, wave)
	}
	return waves
}

// tarjan is Tarjan's algorithm, with a stack of its own in place of recursion: chains of
// referrers may be long.
type tarjan struct {
	repository *repository
	visits     map[id]*visit
	open       ids // visited, and not in a group yet
	groups     []ids
}

type visit struct {
	n       id
	reached ids // that have not been followed yet
	order   int
	low     int // the smallest order that it reaches among those that are open
	closed  bool
}

func (t *tarjan) from(root id) {
	path := []*visit{t.visit(root)}
	for len(path) > 0 {
		v := path[len(path)-1]
		if len(v.reached) > 0 {
			next := v.reached[0]
			v.reached = v.reached[1:]
			switch w := t.visits[next]; {
			case w == nil:
				path = append(path, t.visit(next))
			case !w.closed:
				v.low = min(v.low, w.order)
			}
			continue
		}
		path = path[:len(path)-1]
		if len(path) > 0 {
			above := path[len(path)-1]
			above.low = min(above.low, v.low)
		}
		if v.low == v.order {
			t.close(v)
		}
	}
}

func (t *tarjan) visit(n id) *visit {
	r := t.repository
	v := &visit{n: n, order: len(t.visits), low: len(t.visits)}
	for to := range r.needs.from(n) {
		v.reached = append(v.reached, to)
	}
	for to := range r.referrers(n) {
		v.reached = append(v.reached, to)
	}
	v.reached = slices.DeleteFunc(v.reached, func(to id) bool { return !r.plan.revisions.has(to) })
	t.visits[n] = v
	t.open = append(t.open, n)
	return v
}

// close makes a group of all that was visited since v.
func (t *tarjan) close(v *visit) {
	i := len(t.open) - 1
	for t.open[i] != v.n {
		i--
	}
	group := slices.Clone(t.open[i:])
	t.open = t.open[:i]
	for _, n := range group {
		t.visits[n].closed = true
	}
	t.groups = append(t.groups, group)
}
