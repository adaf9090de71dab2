package retention

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// MinPulled is the least that Rule.Pulled can be. What was used within the hour stays anyway.
const MinPulled = time.Hour

// Use is what a rule has to know of the use of a manifest. Times are zero if they are not
// known.
type Use struct {
	// Since is since when pulls have been recorded without a gap.
	Since time.Time
	// Pulled is when it was last recorded that the manifest was pulled, Stored when it was
	// pushed or tagged.
	Pulled, Stored time.Time
}

// Inexact is by how much a record may be older than the last pull: not every pull is recorded.
func (r *Rule) Inexact() time.Duration { return r.Pulled / 10 }

// DecidesManifests reports whether manifests that no tag needs may go.
func (r *Rule) DecidesManifests() bool { return r != nil && r.Pulled > 0 }

// InUse decides about a manifest by its use. Nothing goes before pulls have been recorded
// for as long as it has to have been without one.
func (r *Rule) InUse(u Use, now time.Time) Verdict {
	if !r.DecidesManifests() {
		return Verdict{}
	}
	within := r.Pulled + min(r.Inexact(), maxAge-r.Pulled)
	switch {
	case u.Since.IsZero():
		return Verdict{Stays: true, Reason: "no registry records pulls"}
	case now.Sub(u.Since) < within:
		return Verdict{Stays: true, Reason: "pulls have been recorded only since " + formatTime(u.Since)}
	case now.Sub(u.Pulled) < within:
		return Verdict{Stays: true, Reason: "was pulled at " + formatTime(u.Pulled)}
	case now.Sub(u.Stored) < within:
		return Verdict{Stays: true, Reason: "was pushed at " + formatTime(u.Stored)}
	}
	return Verdict{Reason: "was not pulled for " + formatAge(r.Pulled)}
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ID tells the pulls that the rule asks for from those of other rules: it is another one if
// other repositories are covered, or if the time is another one.
func (r *Rule) ID() string { return r.id }

// identify gives all rules their IDs. Which repositories a rule covers depends on those
// before it.
func (r *Rules) identify() {
	h := sha256.New()
	for _, rule := range r.rules {
		_, _ = fmt.Fprintf(h, "%q", rule.repositories.texts()) // hashes never fail
		sum := sha256.Sum256(fmt.Appendf(h.Sum(nil), "%d", rule.Pulled))
		rule.id = hex.EncodeToString(sum[:16])
	}
}

// RecordingPulls are the rules that ask for pulls.
func (r *Rules) RecordingPulls() (rules []*Rule) {
	if r == nil {
		return nil
	}
	for _, rule := range r.rules {
		if rule.DecidesManifests() {
			rules = append(rules, rule)
		}
	}
	return rules
}
