package router

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/oras-distribution/registry/extensions"
)

var (
	routeName = regexp.MustCompile(`^[a-z][a-z_]*$`)
	routePath = regexp.MustCompile(`^(/[^{}]+)?(/\{name\}(/[^{}]+)?(/\{reference\})?)?(/[^{}]+)?$`)
)

// check refuses routes that could not be served as their authors meant them.
func check(routes []extensions.Route) error {
	names, taken := map[string]bool{}, map[string]string{}
	for _, route := range routes {
		err := checkRoute(route)
		if err == nil && names[route.Name] {
			err = errors.New("the name is taken")
		}
		if err != nil {
			return fmt.Errorf("route %s: %w", cmp.Or(route.Name, route.Path, "without a name"), err)
		}
		names[route.Name] = true
		for _, method := range methodsOf(route) {
			key := method + " " + route.Path
			if other := taken[key]; other != "" {
				return fmt.Errorf("route %s: %s is taken by route %s", route.Name, key, other)
			}
			taken[key] = route.Name
		}
	}
	return nil
}

func checkRoute(route extensions.Route) error {
	switch {
	case !routeName.MatchString(route.Name):
		return errors.New("the name must be lower case, with underscores")
	case route.Path == "" || !routePath.MatchString(route.Path):
		return fmt.Errorf("the path %q must begin with / and have at most one {name} and, behind it, one {reference}", route.Path)
	case (route.Serve == nil) == (route.Forward == ""):
		return errors.New("it must have Serve or Forward, and not both")
	case route.Forward != "" && !strings.Contains(route.Path, "{name}"):
		return errors.New("with Forward, the path must have a {name}")
	}
	return nil
}
