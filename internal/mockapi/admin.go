package mockapi

import (
	"encoding/json"
	"net/http"
	"strings"
)

// admin serves /_mock/…, which needs no token and is not in the request log.
func (s *Server) admin(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, adminPrefix) {
	case "GET requests":
		writeJSON(w, http.StatusOK, s.Requests())
	case "DELETE requests":
		s.ClearRequests()
		w.WriteHeader(http.StatusNoContent)
	case "GET faults":
		writeJSON(w, http.StatusOK, faultsBody{s.Faults()})
	case "PUT faults":
		s.putFaults(w, r)
	case "DELETE faults":
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "the admin side has GET and DELETE /_mock/requests; GET, PUT and DELETE /_mock/faults", http.StatusNotFound)
	}
}

const adminPrefix = "/_mock/"

type faultsBody struct {
	Faults []Fault `json:"faults"`
}

func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	var body faultsBody
	if err := dec.Decode(&body); err != nil {
		http.Error(w, "reading the faults: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.SetFaults(body.Faults); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
