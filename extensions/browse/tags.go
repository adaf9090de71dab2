package browse

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
)

const (
	// tagsPerPage is how many tags a page shows. What is shown of one takes 9 storage
	// operations at most.
	tagsPerPage = 10
	// datedTags is how many tags are put in the order of time: each takes an operation.
	datedTags = 48
)

// The orders of tags.
const (
	byName     = "name"
	byNameDown = "name-down"
	byTime     = "time"
)

// tagsPage is what the list of the tags of a repository shows.
type tagsPage struct {
	Name        string
	Prefix      string
	Order       string
	Orders      []orderLink
	Total       int // of tags with the prefix
	All         int
	Tags        []*tagRow
	Page, Pages int
	Previous    string
	Next        string
	First, Last string
	TooMany     bool // to be put in the order of time
	Undated     int  // tags whose time cannot be read, in the order of time
	MostDated   int
	Unread      bool // something is left out, so that the page takes no more operations
	MostPerPage int
}

type orderLink struct {
	Name, Path string
	Current    bool
}

// tagRow is what the list says of a tag.
type tagRow struct {
	Tag       string
	Digest    digest.Digest
	Pushed    time.Time
	Kind      string // plain
	Platforms []string
	More      int    // platforms that are not named
	Size      int64  // -1: unknown
	SizeOf    string // the platform that it is of, if there are several
	Error     string

	facts *facts
}

// showTags shows a page of the tags of a repository.
func showTags(v *view) (*page, error) {
	query := v.request.URL.Query()
	shown := &tagsPage{
		Name: v.name(), Prefix: visible(strings.TrimSpace(query.Get("q"))), Order: query.Get("sort"), MostDated: datedTags, MostPerPage: operationsPerPage,
	}
	if !slices.Contains([]string{byNameDown, byTime}, shown.Order) {
		shown.Order = byName
	}
	v.take(costOfList)
	all, err := v.content.Tags(v.ctx).All(v.ctx)
	if unknown := (distribution.ErrRepositoryUnknown{}); errors.As(err, &unknown) {
		return nil, errcode.ErrorCodeNameUnknown.WithDetail(map[string]string{"name": v.name()})
	} else if err != nil {
		return nil, err
	}
	shown.All = len(all)
	rows := make([]*tagRow, 0, len(all))
	for _, tag := range all {
		if strings.HasPrefix(tag, shown.Prefix) {
			rows = append(rows, &tagRow{Tag: tag, Size: -1})
		}
	}
	v.order(shown, rows)
	shown.turn(v, rows, number(query.Get("page")))
	v.describe(shown)
	trail := []step{{"Repositories", v.path("")}, {v.name(), ""}}
	return &page{Template: "tags", Title: v.name(), Trail: trail, Data: shown}, nil
}

// order puts the tags in the order that is asked for. Tags are listed by name; their times
// have to be read one by one.
func (v *view) order(shown *tagsPage, rows []*tagRow) {
	shown.TooMany = shown.Order == byTime && len(rows) > datedTags
	switch {
	case shown.Order == byNameDown:
		slices.Reverse(rows)
	case shown.Order == byTime && !shown.TooMany:
		v.date(rows)
		for _, row := range rows {
			if row.Pushed.IsZero() {
				shown.Undated++
			}
		}
		slices.SortStableFunc(rows, func(a, b *tagRow) int { return cmp.Or(b.Pushed.Compare(a.Pushed), cmp.Compare(a.Tag, b.Tag)) })
	}
}

// date reads when tags were pushed last.
func (v *view) date(rows []*tagRow) {
	v.each(len(rows), func(i int) {
		if row := rows[i]; row.Pushed.IsZero() && v.take(costOfTime) {
			row.Pushed, _ = v.Tagged(v.ctx, v.name(), row.Tag)
		}
	})
}

// turn turns to a page of the list.
func (shown *tagsPage) turn(v *view, rows []*tagRow, number int) {
	path := func(order string, number int) string {
		query := url.Values{}
		if shown.Prefix != "" {
			query.Set("q", shown.Prefix)
		}
		if order != byName {
			query.Set("sort", order)
		}
		if number > 1 {
			query.Set("page", strconv.Itoa(number))
		}
		return strings.TrimSuffix(v.path("tags/"+v.name())+"?"+query.Encode(), "?")
	}
	for _, order := range []struct{ key, name string }{{byName, "Name A–Z"}, {byNameDown, "Name Z–A"}, {byTime, "Newest first"}} {
		shown.Orders = append(shown.Orders, orderLink{order.name, path(order.key, 1), order.key == shown.Order})
	}
	shown.Total = len(rows)
	shown.Pages = max(1, (len(rows)+tagsPerPage-1)/tagsPerPage)
	shown.Page = min(number, shown.Pages)
	if shown.Page > 1 {
		shown.First, shown.Previous = path(shown.Order, 1), path(shown.Order, shown.Page-1)
	}
	if shown.Page < shown.Pages {
		shown.Next, shown.Last = path(shown.Order, shown.Page+1), path(shown.Order, shown.Pages)
	}
	begin := (shown.Page - 1) * tagsPerPage
	shown.Tags = rows[begin:min(begin+tagsPerPage, len(rows))]
}

// describe reads what the page says of its tags: for all of them what matters most, and
// then the rest, as long as the page may cost more.
func (v *view) describe(shown *tagsPage) {
	rows := shown.Tags
	v.date(rows)
	v.each(len(rows), func(i int) {
		row := rows[i]
		var err error
		if row.Digest, _, err = v.resolve(row.Tag); err == nil {
			row.facts, err = v.factsOf(row.Digest)
		}
		if err != nil {
			row.Error = v.plain(err)
		}
	})
	v.each(len(rows), func(i int) {
		if row := rows[i]; row.facts != nil {
			row.facts = v.complete(row.Digest, row.facts)
			row.show()
		}
	})
	for _, row := range rows {
		shown.Unread = shown.Unread || row.Error == errBudget.Error() || row.facts != nil && row.facts.more != ""
	}
}

// platformsPerTag is how many platforms of a tag are named.
const platformsPerTag = 4

func (row *tagRow) show() {
	f := row.facts
	row.Kind, row.Size, row.SizeOf = f.kind.Name, f.size, f.sizeOf
	row.Platforms = f.platforms[:min(len(f.platforms), platformsPerTag)]
	row.More = len(f.platforms) - len(row.Platforms)
}
