package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/internal/progress"
)

// newStatusCommand creates the command status.
func newStatusCommand(list []extensions.Extension) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status CONFIG|URL",
		Short: "Show what a registry has, and how it does",
		Long: "Show the version, the storage, the number of repositories, how much of the index is prepared, and the\n" +
			"last garbage collection. With a configuration the storage is read, and nothing is written. With a URL,\n" +
			"such as https://registry.example, a running registry is asked for what everybody may know, or what\n" +
			"the user may know whose name and password are in the URL.",
		Args: arguments("CONFIG|URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return fmt.Errorf("--format: must be text or json, not %q", format)
			}
			find := func(ctx context.Context) (shownStatus, error) {
				return storageStatusOf(ctx, cmd.ErrOrStderr(), args[0], list)
			}
			if scheme, _, _ := strings.Cut(strings.ToLower(args[0]), "://"); scheme == "http" || scheme == "https" {
				find = func(ctx context.Context) (shownStatus, error) {
					status, err := remoteStatusOf(ctx, args[0])
					if err != nil {
						err = printableError{err}
					}
					return status, err
				}
			}
			status, err := find(cmd.Context())
			if err != nil {
				return fmt.Errorf("status: %w", err)
			}
			return writeStatus(cmd.OutOrStdout(), status, format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "output format: text or json")
	return cmd
}

// shownStatus is a status for people; as JSON it is what it is.
type shownStatus interface{ lines() []statusLine }

// statusLine is one line of a status: a name and what there is to say.
type statusLine struct{ name, text string }

func writeStatus(out io.Writer, status shownStatus, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	for _, line := range status.lines() {
		if _, err := fmt.Fprintf(out, "%-13s %s\n", line.name, printable(line.text)); err != nil {
			return err
		}
	}
	return nil
}

// printable is a text on one line, in which characters that would control a terminal are
// escaped as in Go: what another server says may contain any.
func printable(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch _, size := utf8.DecodeRuneInString(text[i:]); {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// printableError is an error with the words of another server.
type printableError struct{ error }

func (e printableError) Error() string { return printable(e.error.Error()) }

// Unwrap is for errors.Is and errors.As.
func (e printableError) Unwrap() error { return e.error }

// storageStatus is what a configuration and its storage say.
type storageStatus struct {
	Version       string   `json:"version"`
	Commit        string   `json:"commit"`
	Distribution  string   `json:"distribution"`
	Configuration string   `json:"configuration"`
	Storage       string   `json:"storage"`
	ReadOnly      bool     `json:"readOnly"`
	Extensions    []string `json:"extensions"`
	// Summaries are what extensions say of themselves, by their names.
	Summaries    map[string]string `json:"summaries,omitempty"`
	Replicas     int               `json:"replicas"` // that have registered, and not signed off
	Repositories int               `json:"repositories"`
	Index        indexStatus       `json:"index"`
	Collection   collectionStatus  `json:"collection"`
}

// indexStatus is how much of the index is written down.
type indexStatus struct {
	Prepared  int `json:"preparedRepositories"`
	Manifests int `json:"manifests"`
	Unread    int `json:"unreadManifests"`
}

// collectionStatus is about garbage collections.
type collectionStatus struct {
	Running bool       `json:"running"`
	Last    *collected `json:"last,omitempty"`
}

func (s *storageStatus) lines() []statusLine {
	lines := []statusLine{
		{"version", fmt.Sprintf("%s (commit %s), distribution %s", s.Version, s.Commit, s.Distribution)},
		{"configuration", s.Configuration},
		{"storage", s.Storage + map[bool]string{true: ", read-only"}[s.ReadOnly]},
		{"extensions", strings.Join(s.Extensions, ", ")},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Summaries)) {
		lines = append(lines, statusLine{name, s.Summaries[name]})
	}
	return append(lines, []statusLine{
		{"replicas", fmt.Sprintf("%d registered", s.Replicas)},
		{"repositories", fmt.Sprint(s.Repositories)},
		{"index", s.Index.text(s.Repositories)},
		{"collection", s.Collection.text()},
	}...)
}

func (s indexStatus) text(repositories int) string {
	text := fmt.Sprintf("%d of %s prepared, with %s", s.Prepared, progress.Count(repositories, "repositories"), progress.Count(s.Manifests, "manifests"))
	if s.Unread > 0 {
		text += fmt.Sprintf("; %d of them have to be read first", s.Unread)
	}
	return text
}

func (s collectionStatus) text() string {
	text := "none has ended since this is recorded"
	if last := s.Last; last != nil {
		text = fmt.Sprintf("ended %s: removed %s and %s, %s", last.At.Format(time.RFC3339),
			progress.Count(last.Manifests, "manifests"), progress.Count(last.Blobs, "blobs"), humanize.IBytes(uint64(max(last.Bytes, 0))))
	}
	if s.Running {
		text += "; one is under way"
	}
	return text
}
