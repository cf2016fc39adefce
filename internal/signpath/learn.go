package signpath

import (
	"encoding/json"
	"errors"
)

// learnTypes lets package json look at the types of the first two requests. It does so
// once in a process, and that takes longer than reading and writing them afterwards.
func learnTypes() error {
	_, err := json.Marshal(signHashRequest{HashSigningData: &hashSigningData{RSA: new(rsaOptions), ECDSA: new(ecdsaOptions),
		Metadata: &metadata{SourceProcess: &sourceProcess{OperatingSystem: new(operatingSystem)}}}})
	return errors.Join(err,
		json.Unmarshal([]byte(`{"signingPolicies":[{}]}`), new(policyList)),
		json.Unmarshal([]byte(`{"rsaParameters":{}}`), new(policy)),
		json.Unmarshal([]byte(`{"hashSigningData":{},"hashSigningResult":{}}`), new(signAnswer)))
}
