// Renders the chart as `helm template` does, and holds every object against the schema of the API server that is to take it.
//
//	go run . CHART VALUES...
//
// Each VALUES is a file of values; the chart's own go without one. What comes out is JSON: for each of them, by the file's
// name without its extension ("" for the chart's own), the text and the objects, or why there are none.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

// What became of one file of values.
type outcome struct {
	// All objects in the order in which they are made, as `helm template` prints them.
	Text string `json:"text"`
	// The objects by themselves.
	Objects []any `json:"objects"`
	// What is said after an installation.
	Notes string `json:"notes"`
	// Why the chart takes no such values.
	Refused string `json:"refused"`
	// Why the API server would take no such objects.
	Invalid []string `json:"invalid"`
}

func main() {
	outcomes, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcomes); err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
}

func run(folder string, files []string) (map[string]outcome, error) {
	chart, err := loader.LoadDir(folder)
	if err != nil {
		return nil, err
	}
	schemas, err := openSchemas()
	if err != nil {
		return nil, err
	}
	outcomes := map[string]outcome{}
	for _, file := range append([]string{""}, files...) {
		values := map[string]any{}
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		if file == "" {
			name = ""
		} else {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if err := yaml.UnmarshalStrict(text, &values); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		// Rendering leaves its mark in a chart.
		if chart, err = loader.LoadDir(folder); err != nil {
			return nil, err
		}
		rendered, refused, err := render(chart, values)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", file, err)
		}
		one := outcome{Refused: refused, Notes: rendered.notes, Objects: []any{}, Invalid: []string{}}
		for _, manifest := range rendered.manifests {
			one.Text += fmt.Sprintf("---\n# Source: %s\n%s\n", manifest.Name, strings.TrimSpace(manifest.Content))
			var object map[string]any
			if err := yaml.UnmarshalStrict([]byte(manifest.Content), &object); err != nil {
				one.Invalid = append(one.Invalid, fmt.Sprintf("%s: %v", manifest.Name, err))
				continue
			}
			one.Objects = append(one.Objects, object)
			if err := schemas.check(object); err != nil {
				one.Invalid = append(one.Invalid, fmt.Sprintf("%s: %v", manifest.Name, err))
			}
		}
		outcomes[name] = one
	}
	return outcomes, nil
}
