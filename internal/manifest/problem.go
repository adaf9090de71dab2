package manifest

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Problem is one thing that is wrong with a manifest.
type Problem struct {
	// Field is where: a member's name, with an index in a list ("blobs[2].digest").
	// It is empty for the document as a whole.
	Field string `json:"field,omitempty"`
	// Reason says what is wrong.
	Reason string `json:"reason"`
	// Missing is the digest of content that is not in the repository.
	Missing digest.Digest `json:"missing,omitempty"`
}

// Problems is everything that is wrong with one manifest. As an error it is one
// line.
type Problems []Problem

// Add appends a problem.
func (p *Problems) Add(field, format string, args ...any) {
	*p = append(*p, Problem{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// AddMissing appends the problem that content is not in the repository.
func (p *Problems) AddMissing(field string, missing digest.Digest) {
	*p = append(*p, Problem{Field: field, Reason: "not in this repository", Missing: missing})
}

// Err is p as an error, nil if there are no problems.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Error implements error.
func (p Problems) Error() string {
	parts := make([]string, len(p))
	for i, problem := range p {
		parts[i] = strings.TrimPrefix(problem.Field+": "+problem.Reason, ": ")
	}
	return strings.Join(parts, "; ")
}

// Distinct is p with the first problem of each field only.
func (p Problems) Distinct() Problems {
	seen := make(map[string]bool, len(p))
	var distinct Problems
	for _, problem := range p {
		if !seen[problem.Field] {
			distinct = append(distinct, problem)
		}
		seen[problem.Field] = true
	}
	return distinct
}

// OnlyMissing reports whether all that is wrong is content that is not there.
func (p Problems) OnlyMissing() bool {
	for _, problem := range p {
		if problem.Missing == "" {
			return false
		}
	}
	return len(p) > 0
}
