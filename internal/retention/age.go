package retention

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// units are those that a duration may have besides those of Go.
var units = []struct {
	name string
	time.Duration
}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}}

// ParseAge reads a duration, which may be in days or weeks: 36h, 1d, 2w.
func ParseAge(text string) (time.Duration, error) {
	for _, unit := range units {
		if number, ok := strings.CutSuffix(text, unit.name); ok {
			if n, err := strconv.ParseInt(number, 10, 32); err == nil && n <= int64(maxAge/unit.Duration) {
				return time.Duration(n) * unit.Duration, nil
			}
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("must be a duration such as 36h, 1d or 2w, not %q", text)
	}
	return d, nil
}

// maxAge is the longest duration.
const maxAge = time.Duration(1<<63 - 1)

// formatAge writes a duration as ParseAge reads it.
func formatAge(d time.Duration) string {
	for _, unit := range units {
		if d > 0 && d%unit.Duration == 0 {
			return strconv.FormatInt(int64(d/unit.Duration), 10) + unit.name
		}
	}
	return d.String()
}
