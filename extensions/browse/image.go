package browse

import (
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is shown of one image at most.
const (
	maxLayers   = 200
	maxHistory  = 200
	maxChildren = 100 // manifests in an index
	readSizes   = 8   // for how many platforms the size is read
)

// imagePage is what the page of a manifest shows.
type imagePage struct {
	Name, Reference, Tag string
	Digest               digest.Digest
	Manifest             *document
	Class                class
	IsImage, IsIndex     bool
	Platform             string
	Size                 int64 // of all that it needs, each blob counted once
	SizeOf               string
	Created              time.Time
	Pushed               time.Time // of the tag
	Subject              digest.Digest
	Commands             []command
	Platforms            []*platformRow
	MorePlatforms        int
	Layers               []layerRow
	MoreLayers           int
	Annotations          []pair
	Config               *configPart
	ConfigNote           string
	Attached             *attachedPart
	Graph                *graph
}

// command is a command line for the reader's terminal.
type command struct{ What, Text string }

// platformRow is one entry of an index.
type platformRow struct {
	Platform string
	Digest   digest.Digest
	Valid    bool  // there may be a page about it
	Size     int64 // -1: unknown
	For      string
	Error    string
}

// layerRow is one layer or file.
type layerRow struct {
	Index    int
	Title    string
	Type     string
	Digest   digest.Digest
	Size     int64
	Repeated bool
}

// configPart is what is shown of the configuration of an image.
type configPart struct {
	Author, User, WorkingDir, StopSignal string
	Entrypoint, Cmd                      string
	Ports, Volumes                       []string
	Env, Labels                          []pair
	History                              []historyRow
	MoreHistory                          int
}

type historyRow struct {
	Created time.Time
	By      string
	Comment string
	Empty   bool // it has no layer
}

// showImage shows the page of a manifest: an image, an index or an artifact.
func showImage(v *view) (*page, error) {
	d, tag, err := v.resolve(v.target.Reference)
	if err != nil {
		return nil, err
	}
	m, err := v.manifest(d)
	if err != nil {
		return nil, err
	}
	shown := &imagePage{
		Name: v.name(), Reference: v.target.Reference, Tag: tag, Digest: d, Manifest: m, Class: classify(m.kind(), m.Annotations),
		IsImage: m.isImage(), IsIndex: m.isIndex(), Created: m.created(),
	}
	if tag != "" && v.take(costOfTime) {
		shown.Pushed, _ = v.Tagged(v.ctx, v.name(), tag)
	}
	if m.Subject != nil && isDigest(m.Subject.Digest) {
		shown.Subject = m.Subject.Digest
	}
	shown.Annotations = v.pairs(m.Annotations)
	shown.Commands = v.commands(shown)
	if shown.IsIndex {
		v.showPlatforms(shown)
	} else {
		v.showLayers(shown)
	}
	shown.Attached = v.attached(shown)
	shown.Graph = draw(shown)
	return &page{Template: "image", Title: v.title(shown), Trail: v.trail(shown), Data: shown}, nil
}

func (v *view) title(shown *imagePage) string {
	if shown.Tag != "" {
		return v.name() + ":" + shown.Tag
	}
	return v.name() + "@" + short(shown.Digest)
}

func (v *view) trail(shown *imagePage) []step {
	last := shown.Tag
	if last == "" {
		last = short(shown.Digest)
	}
	return []step{{"Repositories", v.path("")}, {v.name(), v.path("tags/" + v.name())}, {last, ""}}
}

// commands are those that pull the manifest.
func (v *view) commands(shown *imagePage) (all []command) {
	tool := "docker pull "
	if !shown.IsImage && !(shown.IsIndex && shown.Manifest.ArtifactType == "") {
		tool = "oras pull "
	}
	name := v.request.Host + "/" + v.name()
	if shown.Tag != "" {
		all = append(all, command{"by tag", tool + name + ":" + shown.Tag})
	}
	return append(all, command{"by digest", tool + name + "@" + shown.Digest.String()})
}

// showPlatforms fills in what an index lists.
func (v *view) showPlatforms(shown *imagePage) {
	m := shown.Manifest
	listed := m.Manifests[:min(len(m.Manifests), maxChildren)]
	shown.MorePlatforms = len(m.Manifests) - len(listed)
	shown.Platforms = make([]*platformRow, len(listed))
	for i, child := range listed {
		shown.Platforms[i] = newPlatformRow(child)
	}
	read := make([]*document, min(len(listed), readSizes))
	v.each(len(read), func(i int) {
		row := shown.Platforms[i]
		if !row.Valid {
			return
		}
		var err error
		if read[i], err = v.manifest(row.Digest); err != nil {
			row.Error = v.plain(err)
		}
	})
	seen, all := map[digest.Digest]bool{}, len(read) == len(m.Manifests)
	for i, child := range read {
		if child == nil {
			all = false
			continue
		}
		shown.Platforms[i].Size = child.total(map[digest.Digest]bool{})
		shown.Size += child.total(seen)
	}
	switch {
	case len(seen) == 0:
		shown.Size = -1
	case all:
		shown.SizeOf = "all platforms, shared layers counted once"
	default:
		shown.SizeOf = "what was read of it"
	}
}

func newPlatformRow(child v1.Descriptor) *platformRow {
	row := &platformRow{Platform: platformOf(child), Digest: child.Digest, Valid: isDigest(child.Digest), Size: -1}
	if child.Annotations["vnd.docker.reference.type"] == "attestation-manifest" {
		row.For = "attestation (BuildKit)"
		if of := digest.Digest(child.Annotations["vnd.docker.reference.digest"]); isDigest(of) {
			row.For += " for " + short(of)
		}
	} else if row.Platform == "" {
		row.For = classify(child.ArtifactType, child.Annotations).Name
	}
	return row
}

// showLayers fills in what an image or artifact consists of.
func (v *view) showLayers(shown *imagePage) {
	m := shown.Manifest
	shown.Size = m.total(map[digest.Digest]bool{})
	seen := map[digest.Digest]bool{}
	for i, layer := range m.Layers[:min(len(m.Layers), maxLayers)] {
		shown.Layers = append(shown.Layers, layerRow{
			Index: i, Title: clip(layer.Annotations[v1.AnnotationTitle], maxName), Type: clip(layer.MediaType, maxName),
			Digest: layer.Digest, Size: max(layer.Size, 0), Repeated: seen[layer.Digest],
		})
		seen[layer.Digest] = true
	}
	shown.MoreLayers = len(m.Layers) - len(shown.Layers)
	var c *configuration
	if c, shown.ConfigNote = v.configuration(m); c == nil {
		return
	}
	shown.Platform = c.platform()
	if created := parseTime(c.Created); shown.Created.IsZero() {
		shown.Created = created
	}
	shown.Config = v.configPart(c)
}

func (v *view) configPart(c *configuration) *configPart {
	part := &configPart{
		Author: v.value(c.Author), User: v.value(c.Config.User), WorkingDir: v.value(c.Config.WorkingDir), StopSignal: v.value(c.Config.StopSignal),
		Entrypoint: v.command(c.Config.Entrypoint), Cmd: v.command(c.Config.Cmd),
		Ports: v.values(sortedKeys(c.Config.ExposedPorts), maxPairs), Volumes: v.values(sortedKeys(c.Config.Volumes), maxPairs),
		Env: v.variables(c.Config.Env), Labels: v.pairs(c.Config.Labels),
	}
	for _, entry := range c.History[:min(len(c.History), maxHistory)] {
		part.History = append(part.History, historyRow{
			Created: parseTime(entry.Created), By: v.value(entry.CreatedBy), Comment: v.value(entry.Comment), Empty: entry.EmptyLayer,
		})
	}
	part.MoreHistory = len(c.History) - len(part.History)
	return part
}

// Summary says in a line what the page is about.
func (shown *imagePage) Summary() string {
	switch {
	case shown.IsIndex && len(shown.Platforms) > 0:
		return shown.Class.Name + ", " + counted(len(shown.Manifest.Manifests), "manifest", "manifests")
	case shown.Platform != "":
		return shown.Class.Name + " for " + shown.Platform
	}
	return shown.Class.Name
}

// ArtifactType is the type that the manifest says it has.
func (shown *imagePage) ArtifactType() string { return clip(shown.Manifest.ArtifactType, maxName) }

// Number is the position as people count.
func (row layerRow) Number() int { return row.Index + 1 }

func sortedKeys(m map[string]struct{}) []string { return slices.Sorted(maps.Keys(m)) }
