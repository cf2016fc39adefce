package key

import (
	"fmt"
	"strings"
)

// ID names a key of the signing service: PROJECT/POLICY, the slugs of a project and of one of its
// signing policies.
type ID struct{ Project, Policy string }

func (id ID) String() string { return id.Project + "/" + id.Policy }

// Named reports whether this is the name of one key: an empty slug is any.
func (id ID) Named() bool { return id.Project != "" && id.Policy != "" }

// Covers reports whether a list of id holds everything that other names.
func (id ID) Covers(other ID) bool {
	return (id.Project == "" || id.Project == other.Project) && (id.Policy == "" || id.Policy == other.Policy)
}

// ParseID reads PROJECT/POLICY. Slugs hold no slash.
func ParseID(text string) (ID, error) {
	project, policy, _ := strings.Cut(text, "/")
	id := ID{project, policy}
	if !id.Named() || strings.Contains(policy, "/") {
		return ID{}, fmt.Errorf("%q is not of the form PROJECT/POLICY", text)
	}
	return id, nil
}
