package mockapi

import (
	"net/http"

	"signkit/internal/version"
)

// health answers without a token.
func (s *Server) health(c *call) error {
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.WriteHeader(http.StatusOK)
	c.w.Write([]byte("Healthy"))
	return nil
}

// systemInfo answers without a token.
func (s *Server) systemInfo(c *call) error {
	return writeJSON(c.w, http.StatusOK, map[string]any{"product": "signkit-mockapi", "version": version.Version})
}
