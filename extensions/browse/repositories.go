package browse

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
)

const (
	// repositoriesPerPage is how many repositories a page shows.
	repositoriesPerPage = 25
	// namesPerPage is how many names of repositories are read for a page, in one walk, to
	// find those that the client may pull from.
	namesPerPage = 200
)

// repositoriesPage is what the list of repositories shows.
type repositoriesPage struct {
	Prefix       string // that the names are searched for
	Problem      string // why no name can have it
	Repositories []repositoryRow
	Filtered     bool   // there may be others that the client may not pull from
	First        string // the path of the first page, if this is another one
	Next         string // the path of the next page, empty if there is none
	SignIn       string // the path of the form, where signing in again may show more
}

type repositoryRow struct {
	Name  string
	Tags  int
	Error string // why the tags could not be counted
}

// showRepositories shows a page of the list of repositories.
func showRepositories(v *view) (*page, error) {
	query := v.request.URL.Query()
	shown := &repositoriesPage{Prefix: visible(strings.TrimSpace(query.Get("q"))), Filtered: v.Token != nil}
	p := &page{Template: "repositories", Title: "Repositories", Data: shown}
	cursor := query.Get("after")
	after := v.vault.name(cursor)
	if cursor != "" {
		shown.First = v.pathOfRepositories(shown.Prefix, "")
	}
	if v.Token != nil {
		shown.SignIn = v.signInPath(v.request.URL.RequestURI())
	}
	if _, err := reference.WithName(after); cursor != "" && err != nil {
		return nil, distribution.ErrRepositoryNameInvalid{Name: clip(cursor, maxName), Reason: err}
	}
	if !couldBegin(shown.Prefix) {
		shown.Problem = fmt.Sprintf("No name of a repository begins with “%s”: names consist of lower-case letters, digits, dots, dashes, underscores and slashes.", clip(shown.Prefix, maxName))
		return p, nil
	}
	names, next, err := v.repositories(shown.Prefix, after)
	if err != nil {
		return nil, err
	}
	if next != "" {
		shown.Next = v.pathOfRepositories(shown.Prefix, next)
	}
	shown.Repositories = make([]repositoryRow, len(names))
	v.each(len(names), func(i int) { shown.Repositories[i] = v.repositoryRow(names[i]) })
	return p, nil
}

func (v *view) pathOfRepositories(prefix, after string) string {
	query := url.Values{}
	if prefix != "" {
		query.Set("q", prefix)
	}
	if after != "" { // the client may not know that there is such a repository
		query.Set("after", v.vault.cursor(after))
	}
	return strings.TrimSuffix(v.path("")+"?"+query.Encode(), "?")
}

// nameStart is what the name of a repository may begin with.
var nameStart = regexp.MustCompile(`^([a-z0-9]+([._-]+[a-z0-9]+)*/)*([a-z0-9]+([._-]+[a-z0-9]+)*[._-]*)?$`)

func couldBegin(prefix string) bool {
	return len(prefix) <= reference.RepositoryNameTotalLengthMax && nameStart.MatchString(prefix)
}

// repositories are the names behind after that have the prefix and that the client may
// pull from. next is the name behind which the next page begins.
func (v *view) repositories(prefix, after string) (found []string, next string, err error) {
	start := after
	if start == "" {
		start = before(prefix)
	}
	v.take(costOfList)
	names := make([]string, namesPerPage)
	n, err := v.Namespace.Repositories(v.ctx, names, start)
	ended := errors.Is(err, io.EOF)
	if err != nil && !ended {
		return nil, "", err
	}
	names = names[:n]
	for i, name := range names {
		if !strings.HasPrefix(name, prefix) {
			if strings.HasPrefix(prefix, name) { // the walk passes those above
				continue
			}
			return v.allowed(v.request, found), "", nil
		}
		found = append(found, name)
		if len(found) == repositoriesPerPage || i == len(names)-1 {
			found = v.allowed(v.request, found)
		}
		if len(found) == repositoriesPerPage {
			if ended && i == len(names)-1 {
				return found, "", nil
			}
			return found, name, nil
		}
	}
	if ended || len(names) == 0 {
		return v.allowed(v.request, found), "", nil
	}
	return found, names[len(names)-1], nil
}

// allowed are those of the repositories that the client may pull from.
func (s *site) allowed(r *http.Request, names []string) []string {
	if len(names) == 0 || s.Allowed(r, names...) { // where it is the same for all, it is asked once
		return names
	}
	var allowed []string
	for _, name := range names {
		if s.Allowed(r, name) {
			allowed = append(allowed, name)
		}
	}
	return allowed
}

// before is where the list begins whose next name may have the prefix: a text that is less
// than all that have it, and greater than all others that are.
func before(prefix string) string {
	if prefix == "" {
		return ""
	}
	end := len(prefix) - 1
	if prefix[end] == '/' {
		return prefix + "-" // less than what a part of a name begins with
	}
	return prefix[:end] + string(prefix[end]-1) + "~" // greater than what one consists of
}

// repositoryRow is what the list says of a repository.
func (v *view) repositoryRow(name string) repositoryRow {
	row := repositoryRow{Name: name}
	named, err := reference.WithName(name)
	if err != nil {
		row.Error = "its name is not valid"
		return row
	}
	if !v.take(costOfList) {
		row.Error = errBudget.Error()
		return row
	}
	repository, err := v.Namespace.Repository(v.ctx, named)
	if err == nil {
		var all []string
		all, err = repository.Tags(v.ctx).All(v.ctx)
		row.Tags = len(all)
	}
	if err != nil && !errors.As(err, new(distribution.ErrRepositoryUnknown)) {
		row.Error = v.plain(err)
	}
	return row
}
