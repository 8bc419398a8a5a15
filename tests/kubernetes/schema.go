package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// The release whose schemas are taken; its sources carry them.
const kubernetes = "v1.34.1"

// Where a group's schemas are, in Kubernetes' own sources, and the prefix of their names.
var groups = map[string][2]string{
	"v1":      {"api__v1_openapi.json", "io.k8s.api.core.v1."},
	"apps/v1": {"apis__apps__v1_openapi.json", "io.k8s.api.apps.v1."},
}

// What the API server says of its objects.
type schemas struct {
	compiler *jsonschema.Compiler
}

// Fetches the schemas as Go fetches modules: checked against its log of what every module is.
func openSchemas() (*schemas, error) {
	download := exec.Command("go", "mod", "download", "-json", "k8s.io/kubernetes@"+kubernetes)
	// Outside of this module, which does not depend on it.
	download.Dir = os.TempDir()
	download.Stderr = os.Stderr
	told, err := download.Output()
	if err != nil {
		return nil, fmt.Errorf("Kubernetes' schemas: %w", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(told, &module); err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	for _, group := range groups {
		file, err := os.Open(filepath.Join(module.Dir, "api", "openapi-spec", "v3", group[0]))
		if err != nil {
			return nil, err
		}
		document, err := jsonschema.UnmarshalJSON(file)
		file.Close()
		if err != nil {
			return nil, err
		}
		for _, schema := range document.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any) {
			strict(schema)
		}
		if err := compiler.AddResource(group[0], document); err != nil {
			return nil, err
		}
	}
	return &schemas{compiler}, nil
}

// An object has no fields but those that are told of.
func strict(schema any) {
	object, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if object["properties"] != nil && object["additionalProperties"] == nil {
		object["additionalProperties"] = false
	}
}

// Says what the API server would say against an object's form.
func (schemas *schemas) check(object map[string]any) error {
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	if version == "monitoring.coreos.com/v1" && kind == "PodMonitor" {
		text, err := yaml.Marshal(object)
		if err != nil {
			return err
		}
		return yaml.UnmarshalStrict(text, &monitoring.PodMonitor{})
	}
	group, known := groups[version]
	if !known {
		return fmt.Errorf("no schema for %s %s", version, kind)
	}
	schema, err := schemas.compiler.Compile(group[0] + "#/components/schemas/" + strings.ReplaceAll(group[1]+kind, "/", "~1"))
	if err != nil {
		return err
	}
	// Numbers as JSON has them.
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}
