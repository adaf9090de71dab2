package collection

import "time"

// Name is the configuration section below extensions, and what the records of collections
// are kept under.
const Name = "collection"

// Settings are those of the configuration section extensions.collection.
type Settings struct {
	// Interval is how often a serving registry collects; 0 is never.
	Interval time.Duration `yaml:"interval"`
	// Untagged, Dangling and OlderThan are what it removes: see gc.Options.
	Untagged  bool          `yaml:"untagged"`
	Dangling  bool          `yaml:"dangling"`
	OlderThan time.Duration `yaml:"olderthan"`
	// Pace is the unit in which replicas and collectors wait for each other.
	Pace time.Duration `yaml:"pace"`
}

// DefaultOlderThan is Settings.OlderThan if the configuration does not say.
const DefaultOlderThan = 24 * time.Hour

// DefaultPace is how often a replica asks for runs.
const DefaultPace = 10 * time.Second

// Pace is the unit of all times in which replicas and collectors wait for each other. It
// has to be the same for all of a storage tree.
type Pace time.Duration

// lease is how long a replica or collector may act after it has heard from the storage.
func (p Pace) lease() time.Duration { return 3 * time.Duration(p) }

// patience is how long a collector waits until a silent replica's lease has run out for
// certain, and what it had sent to the storage has taken effect, or never will.
func (p Pace) patience() time.Duration { return p.abandoned() }

// surrender is how long a collector waits for a replica that has been heard of.
func (p Pace) surrender() time.Duration { return 60 * time.Duration(p) }

// abandoned is after how long without a sign of life nothing that a collector or a replica
// has sent can still take effect: three leases, and the five minutes (with the default pace)
// within which the storage does what it was asked to, or never does.
func (p Pace) abandoned() time.Duration { return 3*p.lease() + 30*time.Duration(p) }

// Stopped is for how long a process may be stopped between a look at its lease and the write
// or delete that the look was for. With the lease itself, and the five minutes, that is as long
// as nobody takes the process for abandoned.
func (p Pace) Stopped() time.Duration { return 2 * p.lease() }

// busy is how often replicas ask while there is a run.
func (p Pace) busy() time.Duration { return time.Duration(p) / 10 }

// sealWait is how long a request waits for a batch that is being removed. No other run can
// begin meanwhile.
func (p Pace) sealWait() time.Duration { return time.Duration(p) / 2 }

// window is how long a use protects.
const window = time.Hour

var started = time.Now()

// sinceStart is Go's monotonic clock.
func sinceStart() time.Duration { return time.Since(started) }
