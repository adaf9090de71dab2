package retention

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Name is the key of the section below "extensions".
const Name = "retention"

// Section is the section of the configuration: see extensions.Section.
type Section interface {
	Decode(into any) error
	Errorf(key, format string, args ...any) error
}

// keys are those of the section.
type keys struct {
	Rules []struct {
		Repositories []string `yaml:"repositories"`
		Keep         *struct {
			Newest   *int     `yaml:"newest"`
			Matching []string `yaml:"matching"`
			Younger  *string  `yaml:"younger"`
		} `yaml:"keep"`
		Referrers *struct {
			Newest *int `yaml:"newest"`
		} `yaml:"referrers"`
		Pulled *string `yaml:"pulled"`
	} `yaml:"rules"`
	Immutable []struct {
		Repositories []string `yaml:"repositories"`
		Tags         []string `yaml:"tags"`
	} `yaml:"immutable"`
}

// The texts that a name of a repository or tag can match: a wildcard may stand wherever a
// letter may, and any pattern that matches a name also matches one with a letter there.
var (
	repositoryPattern = regexp.MustCompile(`^` + component + `(?:/` + component + `)*$`)
	tagPattern        = regexp.MustCompile(`^[A-Za-z0-9_*][A-Za-z0-9._*-]*$`)
)

// component is what the name of a repository has between its slashes.
const component = `[a-z0-9*]+(?:(?:[._]|__|-+)[a-z0-9*]+)*`

// Read reads the rules of a configuration. The error names the paths of all keys that
// are wrong.
func Read(from Section) (*Rules, error) {
	var given keys
	if err := from.Decode(&given); err != nil {
		return nil, err
	}
	r := reader{from: from}
	rules := &Rules{}
	for i, one := range given.Rules {
		key := fmt.Sprintf("rules[%d]", i)
		rule := &Rule{Key: "extensions." + Name + "." + key, repositories: r.patterns(key+".repositories", one.Repositories, repositoryPattern)}
		if keep := one.Keep; keep != nil {
			rule.Keep = &Keep{Newest: r.count(key+".keep.newest", keep.Newest), Younger: r.age(key+".keep.younger", keep.Younger)}
			if len(keep.Matching) > 0 {
				rule.Keep.matching = r.patterns(key+".keep.matching", keep.Matching, tagPattern)
			}
			if keep.Newest == nil && keep.Younger == nil && len(keep.Matching) == 0 {
				r.wrong(key+".keep", "must have newest, matching or younger: nothing would stay")
			}
		}
		if referrers := one.Referrers; referrers != nil {
			rule.Referrers = r.count(key+".referrers.newest", referrers.Newest)
			if referrers.Newest == nil {
				r.wrong(key+".referrers", "must have newest")
			}
		}
		if rule.Pulled = r.age(key+".pulled", one.Pulled); rule.Pulled > 0 && rule.Pulled < MinPulled {
			r.wrong(key+".pulled", "must be at least %s, not %s", formatAge(MinPulled), *one.Pulled)
		}
		rules.rules = append(rules.rules, rule)
	}
	rules.identify()
	for i, one := range given.Immutable {
		key := fmt.Sprintf("immutable[%d]", i)
		rules.immutable = append(rules.immutable, protection{
			repositories: r.patterns(key+".repositories", one.Repositories, repositoryPattern),
			tags:         r.patterns(key+".tags", one.Tags, tagPattern),
		})
	}
	return rules, r.problems
}

// reader reads values, and collects what is wrong with them.
type reader struct {
	from     Section
	problems error
}

func (r *reader) wrong(key, format string, args ...any) {
	r.problems = errors.Join(r.problems, r.from.Errorf(key, format, args...))
}

func (r *reader) patterns(key string, texts []string, allowed *regexp.Regexp) (list patterns) {
	if len(texts) == 0 {
		r.wrong(key, "must name at least one pattern")
	}
	for i, text := range texts {
		if !allowed.MatchString(text) {
			r.wrong(fmt.Sprintf("%s[%d]", key, i), "%q matches no name: it must be a name, in which * and ** may stand for text", text)
			continue
		}
		list = append(list, newPattern(text))
	}
	return list
}

func (r *reader) count(key string, n *int) int {
	if n == nil {
		return 0
	}
	if *n < 1 {
		r.wrong(key, "must be at least 1, not %d", *n)
	}
	return *n
}

func (r *reader) age(key string, text *string) time.Duration {
	if text == nil {
		return 0
	}
	d, err := ParseAge(*text)
	switch {
	case err != nil:
		r.wrong(key, "%w", err)
	case d <= 0:
		r.wrong(key, "must be more than 0, not %s", *text)
	}
	return d
}
