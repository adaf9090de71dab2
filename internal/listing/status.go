package listing

import "github.com/distribution/distribution/v3/registry/api/errcode"

// StatusError is answered with a status of its own, for which distribution's table
// of errors has no code. The code is the closest one that the table has.
type StatusError struct {
	Status int
	Cause  errcode.Error
}

// Error implements error.
func (e StatusError) Error() string { return e.Cause.Error() }

// Unwrap is for errors.As.
func (e StatusError) Unwrap() error { return e.Cause }
