package gc

import "iter"

// Mark returns all nodes that are reachable from roots. A reachable node reaches
// what it references, and its referrers; a referrer does not reach its subject.
func Mark[N comparable](roots iter.Seq[N], references, referrers func(N) iter.Seq[N]) map[N]struct{} {
	marked := map[N]struct{}{}
	var grey []N
	reach := func(nodes iter.Seq[N]) {
		for n := range nodes {
			if _, seen := marked[n]; !seen {
				marked[n] = struct{}{}
				grey = append(grey, n)
			}
		}
	}
	reach(roots)
	for len(grey) > 0 {
		n := grey[len(grey)-1]
		grey = grey[:len(grey)-1]
		reach(references(n))
		reach(referrers(n))
	}
	return marked
}

// Dangling returns the referrers that have lost all their subjects: each subject does
// not exist or is dangling itself. links yields each pair of a subject and its referrer
// once. A referrer that stays without its subject (because it is tagged) is never
// dangling.
func Dangling[N comparable](links iter.Seq2[N, N], there, stays func(N) bool) map[N]struct{} {
	dangling := map[N]struct{}{}
	subjectsLeft := map[N]int{}
	referrers := map[N][]N{}
	for subject, referrer := range links {
		left := subjectsLeft[referrer]
		if there(subject) {
			left++
			referrers[subject] = append(referrers[subject], referrer)
		}
		subjectsLeft[referrer] = left
	}
	var lost []N
	lose := func(n N) {
		if !stays(n) {
			dangling[n] = struct{}{}
			lost = append(lost, n)
		}
	}
	for n, left := range subjectsLeft {
		if left == 0 {
			lose(n)
		}
	}
	for len(lost) > 0 {
		n := lost[len(lost)-1]
		lost = lost[:len(lost)-1]
		for _, r := range referrers[n] {
			if subjectsLeft[r]--; subjectsLeft[r] == 0 {
				lose(r)
			}
		}
	}
	return dangling
}
