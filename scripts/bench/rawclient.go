package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// rawClientCommand runs this program as the other side of groups distant and parallel, in a
// process of its own as our token process is.
const rawClientCommand = "raw-client"

// rawClient makes the requests of a cold signature, KEY, and then those of more from many
// goroutines: WORKERS EACH. It prints the rate of these. It checks nothing but that a signature
// came.
func rawClient(args []string) error {
	if len(args) != 1 && len(args) != 3 {
		return errors.New("want KEY [WORKERS EACH]")
	}
	c, err := newRaw(args[0])
	if err != nil {
		return err
	}
	if _, err := c.send(http.MethodGet, c.policy, nil); err != nil {
		return err
	}
	if err := c.sign(); err != nil || len(args) == 1 {
		return err
	}
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	each, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	begin := time.Now()
	errs := make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() {
			for range each {
				errs[i] = errors.Join(errs[i], c.sign())
			}
		})
	}
	group.Wait()
	fmt.Printf("rate %.4f\n", float64(workers*each)/time.Since(begin).Seconds())
	return errors.Join(errs...)
}

type raw struct {
	client       *http.Client
	policy, hash string // URLs
	token        string
	body         []byte
}

func newRaw(key string) (*raw, error) {
	ca, err := os.ReadFile(os.Getenv("SIGNKIT_CA_FILE"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	body, err := json.Marshal(rawBody(key))
	project, policy, _ := strings.Cut(key, "/")
	root := os.Getenv("SIGNPATH_API_URL") + "/v1/" + os.Getenv("SIGNPATH_ORGANIZATION_ID")
	return &raw{
		client: &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}},
		policy: root + "/Cryptoki/MySigningPolicies?projectSlug=" + project + "&signingPolicySlug=" + policy,
		hash:   root + "/SigningRequests/SignHash",
		token:  os.Getenv("SIGNPATH_API_TOKEN"), body: body,
	}, err
}

// rawBody is the same as ours, so that the service has the same work.
func rawBody(key string) map[string]any {
	project, policy, _ := strings.Cut(key, "/")
	data := map[string]any{
		"hash": make([]byte, 32), "signatureAlgorithm": "Ecdsa", "ecdsaOptions": map[string]string{"signatureFormat": "Ieee"},
		"metadata": map[string]any{"sourceProcess": map[string]any{
			"commandLine": strings.Join(os.Args, " "), "user": os.Getenv("USER"),
			"operatingSystem": map[string]string{"type": "Linux", "version": "1", "architecture": "x64"},
		}},
	}
	if strings.Contains(key, "rsa") {
		delete(data, "ecdsaOptions")
		data["signatureAlgorithm"] = "Rsa"
		data["rsaOptions"] = map[string]string{"hashAlgorithmName": "Sha256", "paddingMode": "Pkcs1"}
	}
	return map[string]any{"projectSlug": project, "signingPolicySlug": policy, "description": "bench", "hashSigningData": data}
}

func (c *raw) sign() error {
	body, err := c.send(http.MethodPost, c.hash, c.body)
	if err != nil {
		return err
	}
	var answer struct {
		HashSigningResult struct{ Signature []byte }
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.HashSigningResult.Signature) == 0 {
		return fmt.Errorf("no signature: %s", body)
	}
	return nil
}

func (c *raw) send(method, url string, body []byte) ([]byte, error) {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	return answer, err
}
