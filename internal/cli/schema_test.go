package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// checkDocument validates a document against a published schema, docs/schemas/NAME.schema.json, and
// wants every field of it to be one that the schema describes.
func checkDocument(name string, document []byte) error {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "schemas", name+".schema.json"))
	if err != nil {
		return err
	}
	source, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	forbidOthers(source)
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", source); err != nil {
		return err
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return fmt.Errorf("%w in %q", err, document)
	}
	return schema.Validate(instance)
}

// forbidOthers closes the schemas that say which type they are of; conditions stay as they are.
func forbidOthers(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		if s["type"] == "object" {
			s["additionalProperties"] = false
		}
		for _, part := range s {
			forbidOthers(part)
		}
	case []any:
		for _, part := range s {
			forbidOthers(part)
		}
	}
}

// scriptDocument: document SCHEMA FILE checks a JSON document; FILE may be stdout.
func scriptDocument(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: document SCHEMA FILE")
	}
	ts.Check(checkDocument(args[0], []byte(ts.ReadFile(args[1]))))
}

// TestSchemasTellDocumentsApart: each takes what it is for, and nothing that lacks or adds something.
func TestSchemasTellDocumentsApart(t *testing.T) {
	const signed = `{"version":1,"result":"signed","files":[{"file":"a","kind":"rpm","status":"signed","key":"p/k","outputs":["a"],"sha256":"` +
		"0123456789012345678901234567890123456789012345678901234567890123" + `"}],"left_out":[]}`
	const planned = `{"version":1,"result":"planned","keys":[],"left_out":[],"files":[` +
		`{"file":"a","kind":"rpm","key_type":"openpgp","tool":"rpmsign","outputs":["a"]}]}`
	const verified = `{"version":1,"result":"verified","files":[{"file":"a","kind":"rpm","verified":true}],"left_out":[]}`
	tests := []struct {
		schema, document string
		edits            []string // old, new: each makes it wrong
	}{
		{"sign-manifest", signed, []string{`"version":1`, `"version":2`, `"key":"p/k",`, ``, `"status":"signed"`, `"status":"failed"`,
			`,"left_out":[]`, ``, `"result":"signed"`, `"result":"ok"`, `"sha256":"0`, `"sha256":"`, `"file":"a"`, `"name":"a"`}},
		{"sign-plan", planned, []string{`"keys":[],`, ``, `"tool":"rpmsign",`, ``, `"openpgp"`, `"gpg"`, `"result":"planned"`, `"result":"signed"`}},
		{"verify", verified, []string{`"verified":true`, `"verified":false`, `"kind":"rpm",`, ``, `"left_out":[]`, `"left_out":[{"file":"b"}]`}},
	}
	for _, test := range tests {
		if err := checkDocument(test.schema, []byte(test.document)); err != nil {
			t.Errorf("%s: %v", test.schema, err)
		}
		for i := 0; i < len(test.edits); i += 2 {
			wrong := strings.Replace(test.document, test.edits[i], test.edits[i+1], 1)
			if !json.Valid([]byte(wrong)) || wrong == test.document {
				t.Fatalf("%s: the edit of %s makes no other document", test.schema, test.edits[i])
			}
			if checkDocument(test.schema, []byte(wrong)) == nil {
				t.Errorf("%s takes %s", test.schema, wrong)
			}
		}
	}
}
