package mockapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// auditLog appends one JSON object per signature to audit.jsonl.
type auditLog struct {
	mu   sync.Mutex
	file *os.File
}

// auditEntry has no token in it, whatever the request was.
type auditEntry struct {
	Time             time.Time       `json:"time"`
	SigningRequestID string          `json:"signingRequestId"`
	Organization     string          `json:"organization"`
	User             string          `json:"user"`
	Project          string          `json:"project"`
	Policy           string          `json:"policy"`
	Route            string          `json:"route"`
	Algorithm        string          `json:"algorithm"`
	HashAlgorithm    string          `json:"hashAlgorithm,omitempty"`
	Hash             []byte          `json:"hash"`
	Description      string          `json:"description,omitempty"`
	Metadata         json.RawMessage `json:"metadata,omitempty"`
}

func newAuditEntry(c *call, p *policy, j *job, requestID string) auditEntry {
	e := auditEntry{
		Time: time.Now().UTC(), SigningRequestID: requestID, Organization: c.org.id, User: c.user.name,
		Project: p.project.Slug, Policy: p.Slug, Route: c.r.URL.Path, Algorithm: j.algorithm,
		Hash: j.digest, Description: j.description, Metadata: j.metadata,
	}
	if j.hash != 0 {
		e.HashAlgorithm = j.hash.String()
	}
	return e
}

func openAudit(path string) (*auditLog, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return &auditLog{file: f}, nil
}

func (a *auditLog) add(e auditEntry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing the audit log: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the audit log: %w", err)
	}
	return nil
}

func (a *auditLog) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
