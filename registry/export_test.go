package registry

// The commands, for tests that bring an extension of their own.
var (
	NewCollectCommand   = newCollectCommand
	NewReferrersCommand = newReferrersCommand
)
