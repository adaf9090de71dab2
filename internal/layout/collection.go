package layout

import (
	"path"
	"regexp"
	"strconv"
)

// Collection is the folder of what replicas and collectors tell each other: see package
// collection. It stands beside the repositories and the blobs, where a stock binary never
// looks.
const Collection = Root + "/_gc"

// Active is the folder of the runs of collectors that are under way, one folder for each, and
// of the registrations of serving replicas, one file for each: one list shows both.
const Active = Collection + "/active"

// Replica is the registration of a serving replica.
func Replica(id string) string { return Active + "/" + replicaPrefix + id }

const replicaPrefix = "replica-"

// activeName is the name of an entry of Active. Replicas and runs are named by rand.Text. The
// filesystem driver gives files another end while it writes them.
var activeName = regexp.MustCompile(`^(` + replicaPrefix + `)?([A-Z2-7]{26})(\..*)?$`)

// ActiveNames are the entries of a list of Active. What somebody else has put there is none
// of them.
type ActiveNames struct {
	Runs, Replicas []string // their names
	Unfinished     []string // the paths of registrations that were being written
}

// ParseActive sorts the paths of a list of Active.
func ParseActive(paths []string) (names ActiveNames) {
	for _, p := range paths {
		parts := activeName.FindStringSubmatch(path.Base(p))
		switch {
		case parts == nil:
		case parts[1] == "" && parts[3] == "":
			names.Runs = append(names.Runs, parts[2])
		case parts[1] != "" && parts[3] == "":
			names.Replicas = append(names.Replicas, parts[2])
		case parts[1] != "":
			names.Unfinished = append(names.Unfinished, p)
		}
	}
	return names
}

// Run is the folder of one run.
func Run(run string) string { return Active + "/" + run }

// RunCandidates is the file that says what a run may remove. It is the first file of a run.
func RunCandidates(run string) string { return Run(run) + "/candidates" }

// RunAlive is the file that a collector writes again and again.
func RunAlive(run string) string { return Run(run) + "/alive" }

// RunSeen is the file by which a replica says that it has read the candidates.
func RunSeen(run, replica string) string { return Run(run) + "/seen/" + replica }

// RunAcks is the folder of the acknowledgements of a run, one file for each replica.
func RunAcks(run string) string { return Run(run) + "/acks" }

// RunAck is the acknowledgement of a replica.
func RunAck(run, replica string) string { return RunAcks(run) + "/" + replica }

// RunQuestions is the file with the links that a collector asks all replicas about.
func RunQuestions(run string) string { return Run(run) + "/questions" }

// RunAnswer is the file with those among them that a replica has written.
func RunAnswer(run, replica string) string { return Run(run) + "/answers/" + replica }

// RunBatch is the folder of one batch of candidates.
func RunBatch(run string, n int) string { return Run(run) + "/batches/" + strconv.Itoa(n) }

// RunMarks is the folder of the marks in a batch, one file for each candidate that is used.
func RunMarks(run string, n int) string { return RunBatch(run, n) + "/marks" }

// RunSeal is the file that closes a batch to marks.
func RunSeal(run string, n int) string { return RunBatch(run, n) + "/seal" }

// RunFinal is the file with those of a batch that are removed.
func RunFinal(run string, n int) string { return RunBatch(run, n) + "/final" }

// RunDone is the file that says that they have been removed.
func RunDone(run string, n int) string { return RunBatch(run, n) + "/done" }

// RunOver is the file by which a replica says that the collector of a run is dead, and that
// nothing it has sent can still remove anything.
func RunOver(run string) string { return Run(run) + "/over" }
