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

// rawClientCommand runs this program as the other side of group parallel, in a process of
// its own as our token process is.
const rawClientCommand = "raw-client"

// rawClient signs with a key from many goroutines: KEY WORKERS EACH. It prints the rate.
// It checks nothing but that a signature came.
func rawClient(args []string) error {
	if len(args) != 3 {
		return errors.New("want KEY WORKERS EACH")
	}
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	each, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	c, err := newRaw(args[0])
	if err != nil {
		return err
	}
	if err := c.sign(); err != nil { // opens the connection
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
	client *http.Client
	url    string
	token  string
	body   []byte
}

func newRaw(key string) (*raw, error) {
	ca, err := os.ReadFile(os.Getenv("SIGNKIT_CA_FILE"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	body, err := json.Marshal(rawBody(key))
	return &raw{
		client: &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}},
		url:    os.Getenv("SIGNPATH_API_URL") + "/v1/" + os.Getenv("SIGNPATH_ORGANIZATION_ID") + "/SigningRequests/SignHash",
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
	request, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(c.body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var answer struct {
		HashSigningResult struct{ Signature []byte }
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.HashSigningResult.Signature) == 0 {
		return fmt.Errorf("no signature: %s: %s", response.Status, body)
	}
	return nil
}
