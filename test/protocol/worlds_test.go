package protocol

import "slices"

// one has one old blob, and clients that each push a manifest that needs it, through
// one replica for the blob, and one for the manifest.
func one(clients ...[2]int) World {
	w := World{Name: "one blob", Objects: []Object{{Name: "blob"}}, Stored: 1, Batches: []Set{1}, Runs: 1}
	for i, replicas := range clients {
		manifest := Set(2) << i
		w.Objects = append(w.Objects, Object{Name: "manifest " + string(rune('A'+i)), Needs: 1, Root: true})
		w.Batches[0] |= manifest
		w.Clients = append(w.Clients, []Request{
			{Name: "HEAD blob", Replica: replicas[0], Uses: 1, Looks: 1, Promised: 1, Next: 2, Gone: 1},
			{Name: "POST blob", Replica: replicas[0], Uses: 1, Writes: 1, Promised: 1, Next: 2},
			{Name: "PUT manifest", Replica: replicas[1], Uses: 1 | manifest, Looks: 1, Writes: manifest, Pushed: manifest, Next: 3},
		})
		w.Replicas = max(w.Replicas, slices.Max(replicas[:])+1)
	}
	return w
}

// mount has bytes that one repository has a link to. One client mounts them into another
// repository, and one uses them where they are.
func mount() World {
	const (
		blob, old, link       Set = 1, 2, 4
		oldManifest, manifest Set = 8, 16
	)
	return World{
		Name: "a mount",
		Objects: []Object{
			{Name: "bytes"},
			{Name: "link in old", Needs: blob},
			{Name: "link in new", Needs: blob},
			{Name: "manifest in old", Needs: old, Root: true},
			{Name: "manifest in new", Needs: link, Root: true},
		},
		Stored:  blob | old,
		Batches: []Set{old | link | oldManifest | manifest, blob},
		Clients: [][]Request{{
			{Name: "mount", Uses: old | blob | link, Looks: old | blob, Writes: link, Promised: link | blob, Next: 2, Gone: 1},
			{Name: "POST blob to new", Uses: link | blob, Writes: link | blob, Promised: link | blob, Next: 2},
			{Name: "PUT manifest to new", Uses: link | blob | manifest, Looks: link | blob, Writes: manifest, Pushed: manifest, Next: 3},
		}, {
			{Name: "HEAD blob in old", Uses: old | blob, Looks: old | blob, Promised: old | blob, Next: 2, Gone: 1},
			{Name: "POST blob to old", Uses: old | blob, Writes: old | blob, Promised: old | blob, Next: 2},
			{Name: "PUT manifest to old", Uses: old | blob | oldManifest, Looks: old | blob, Writes: oldManifest, Pushed: oldManifest, Next: 3},
		}},
		Replicas: 1, Runs: 1,
	}
}

// index has an old index without a tag. One client tags it, and one pushes it anew if
// that fails, with its child and the child's blob; deep is whether all that it reaches is used
// and looked at.
func index(deep bool) World {
	const blob, child, index, tag, childTag Set = 1, 2, 4, 8, 16
	needs, deepNeeds := child, Set(0)
	if deep {
		needs |= blob
		deepNeeds = needs
	}
	again := func(replica int) []Request {
		return []Request{
			{Name: "HEAD child", Replica: replica, Uses: child, Looks: child, Promised: child, Next: 4, Gone: 1},
			{Name: "HEAD blob", Replica: replica, Uses: blob, Looks: blob, Promised: blob, Next: 3, Gone: 2},
			{Name: "POST blob", Replica: replica, Uses: blob, Writes: blob, Promised: blob, Next: 3},
			{Name: "PUT child", Replica: replica, Uses: blob | child, Looks: blob, Writes: child, Promised: blob | child, Next: 4, Gone: 1},
			{Name: "PUT index", Replica: replica, Uses: index | needs, Looks: needs, Writes: index | tag, Pushed: tag, Next: 5, Gone: 1},
		}
	}
	w := World{
		Name: "an old index",
		Objects: []Object{
			{Name: "blob"},
			{Name: "child", Needs: blob},
			{Name: "index", Needs: child},
			{Name: "tag", Needs: index, Root: true},
			{Name: "tag of child", Needs: child, Root: true},
		},
		Stored:  blob | child | index,
		Batches: []Set{tag | childTag | index, child | blob},
		Clients: [][]Request{
			{{Name: "tag index", Uses: index | deepNeeds, Looks: index | deepNeeds, Writes: tag, Pushed: tag, Next: 1, Gone: 1}},
			again(0),
		},
		Replicas: 1, Runs: 1,
	}
	if deep {
		w.Name += ", all that it reaches looked at"
	}
	return w
}

// young has only an old blob. Two clients push a manifest that needs it, and an index of
// that manifest.
func young() World {
	w := index(false)
	w.Name, w.Stored = "a new index", 1
	w.Clients[0] = w.Clients[1]
	return w
}

// cycle has two manifests that keep each other: a referrer and its subject.
func cycle() World {
	const referrer, subject, tag Set = 1, 2, 4
	return World{
		Name: "two that keep each other",
		Objects: []Object{
			{Name: "referrer", Needs: subject},
			{Name: "subject", Needs: referrer},
			{Name: "tag", Needs: referrer, Root: true},
			{Name: "tag of subject", Needs: subject, Root: true},
		},
		Stored:  referrer | subject,
		Batches: []Set{tag | 8, referrer | subject},
		Clients: [][]Request{
			{{Name: "tag referrer", Uses: referrer, Looks: referrer, Writes: tag, Pushed: tag, Next: 1, Gone: 1}},
			{{Name: "tag subject", Uses: subject, Looks: subject, Writes: 8, Pushed: 8, Next: 1, Gone: 1}},
		},
		Replicas: 1, Runs: 1,
	}
}

// deletes has a manifest that one user deletes and pushes again, and another one only
// pushes. Its bytes are stored as a blob too.
func deletes() World {
	const layer, content, manifest Set = 1, 2, 4
	push := func(first int) []Request {
		return []Request{
			{Name: "HEAD layer", Uses: layer, Looks: layer, Promised: layer, Next: first + 2, Gone: first + 1},
			{Name: "POST layer", Uses: layer, Writes: layer, Promised: layer, Next: first + 2},
			{Name: "PUT manifest", Uses: layer | content | manifest, Looks: layer, Writes: content | manifest, Pushed: manifest, Next: first + 3, Gone: first},
		}
	}
	return World{
		Name:    "a manifest that is deleted and pushed again",
		Objects: []Object{{Name: "layer"}, {Name: "bytes of manifest"}, {Name: "manifest", Needs: layer | content, Root: true}},
		Stored:  layer | content | manifest,
		Pushed:  manifest,
		Batches: []Set{layer | content | manifest},
		Clients: [][]Request{
			append([]Request{{Name: "DELETE manifest", Deletes: manifest, Next: 1}}, push(1)...),
			push(0),
		},
		Replicas: 1, Runs: 1,
	}
}
