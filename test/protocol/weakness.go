package protocol

// Weakness is what is left out of the protocol, or done otherwise.
type Weakness uint8

// The weaknesses.
const (
	None Weakness = iota
	// A use marks a candidate, and does not ask whether it is sealed.
	NoLookAtSeal
	// What was garbage in the first look goes, unless it is marked.
	NoSecondLook
	// A replica acknowledges a run without waiting for sections that began before it knew it.
	AckAtOnce
	// A section is answered, and writes, although the lease has run out.
	NoLookAtLease
	// The same, if the lease is valid again.
	GapForgiven
	// The collector lists the replicas first, and publishes the candidates then.
	ListFirst
	// A replica serves as soon as it is registered.
	ServeFirst
	// Replicas abandon a run without waiting for the deletes that were sent.
	AbandonAtOnce
	// Another collector continues the batch of one that is dead, at once.
	TakenOver
	// A second run overwrites the first one, which replicas then know nothing of.
	SharedRun
	// A replica renews its lease before it has said that it has seen the run.
	RenewedUnseen
	// What a replica that joins has marked is taken for rescued.
	RecentUnasked
	// A commit does not wait for the delete of what it writes.
	NoWaitOfCommits
	// A collector that was paused goes on, for however long that was.
	NoFence
	// What is garbage in the second look and was none in the first one spares nothing.
	NewGarbageIgnored
	// A mark spares what is marked, and not what that reaches.
	ShallowMarks
	// Deletes of a batch are sent in any order.
	DeletesInAnyOrder
	// A section does not look at its lease before it writes, and the collector does not wait for the
	// writes that a replica had sent when its lease ran out.
	LateWrites
	// A write whose reference is in a final list is refused, and not told to come again.
	RefusedEarly
	// A write whose reference is in a final list goes on if the reference is still stored.
	StillStored
	// The batches of the World are not in the order of what needs what.
	WrongBatches
)
