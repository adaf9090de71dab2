package mirror

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// tag is what a tag must look like.
var tag = regexp.MustCompile("^" + reference.TagRegexp.String() + "$")

// maxDocument is the size of the largest list that is read, in bytes.
const maxDocument = 4 << 20

// checkBody checks the body of an answer before a client reads it, who takes what is missing
// in it for nothing.
func checkBody(resp *http.Response, check func(members map[string]json.RawMessage) error) error {
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if len(content) > maxDocument {
		return fmt.Errorf("the list has more than %d bytes", maxDocument)
	}
	members, err := membersOf(content)
	if err == nil {
		err = check(members)
	}
	if err != nil {
		return fmt.Errorf("the list is none: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(content))
	return nil
}

// membersOf is the members of a JSON object, which has each once, and nothing behind it.
func membersOf(content []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	members := map[string]json.RawMessage{}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name := key.(string)
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("it has the member %q twice", name)
		}
		for _, meant := range []string{"schemaVersion", "mediaType", "manifests", "tags"} {
			if name != meant && strings.EqualFold(name, meant) { // which a client takes for it
				return nil, fmt.Errorf("it has the member %q", name)
			}
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		members[name] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something is behind its end")
	}
	return members, nil
}

// checkIndex checks the members of a list of referrers (image-spec, image index).
func checkIndex(members map[string]json.RawMessage) error {
	var mediaType string
	var list []json.RawMessage
	switch {
	case members["errors"] != nil:
		return errors.New("it has errors")
	case string(members["schemaVersion"]) != "2":
		return errors.New("its schemaVersion is not 2")
	case members["mediaType"] != nil && (json.Unmarshal(members["mediaType"], &mediaType) != nil || mediaType != v1.MediaTypeImageIndex):
		return fmt.Errorf("its mediaType is not %s", v1.MediaTypeImageIndex)
	case json.Unmarshal(members["manifests"], &list) != nil || list == nil:
		return errors.New("its manifests are no list")
	}
	return nil
}

// checkTags checks a list of tags (distribution-spec, "Listing Tags"). Some registries have
// null for no tags.
func checkTags(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return checkPage(resp)
	}
	return checkBody(resp, func(members map[string]json.RawMessage) error {
		var list []string
		if members["errors"] != nil || json.Unmarshal(members["tags"], &list) != nil {
			return errors.New("its tags are no list of texts")
		}
		for _, name := range list {
			if !tag.MatchString(name) {
				return fmt.Errorf("%q is no tag", name)
			}
		}
		return nil
	})
}
