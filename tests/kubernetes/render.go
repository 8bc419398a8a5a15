package main

import (
	"fmt"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
)

// What a chart becomes.
type rendered struct {
	manifests []releaseutil.Manifest
	notes     string
}

// Renders a chart with these values over its own, as release "profiler" of namespace "profiler". The second result is why the
// chart refuses the values.
func render(chart *chart.Chart, values map[string]any) (rendered, string, error) {
	capabilities := *chartutil.DefaultCapabilities
	capabilities.KubeVersion = chartutil.KubeVersion{Version: kubernetes, Major: "1", Minor: minor()}
	release := chartutil.ReleaseOptions{Name: "profiler", Namespace: "profiler", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, release, &capabilities)
	if err != nil {
		return rendered{}, err.Error(), nil
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return rendered{}, err.Error(), nil
	}
	var done rendered
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			done.notes = text
			delete(files, name)
		}
	}
	_, done.manifests, err = releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return rendered{}, "", fmt.Errorf("what was rendered is no YAML: %w", err)
	}
	// The order of those of one kind is left open.
	sort.SliceStable(done.manifests, func(a, b int) bool {
		one, other := done.manifests[a], done.manifests[b]
		return one.Head.Kind == other.Head.Kind && one.Name < other.Name
	})
	return done, "", nil
}

func minor() string {
	return strings.Split(kubernetes, ".")[1]
}
