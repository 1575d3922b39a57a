// MSAL for Go as a worker. The program reads tasks from stdin and prints the CPU time of each task. With the argument
// `once` it gets one token, and prints its CPU time and its peak memory.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
)

const (
	authority = "https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c"
	app       = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e"
	secretApp = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264"
	secret    = "certbound-emulator-secret"
)

var (
	ctx      = context.Background()
	scope    = []string{"https://graph.microsoft.com/.default"}
	exchange = []string{"api://AzureADTokenExchange/.default"}
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func client(id string, credential confidential.Credential, options ...confidential.Option) confidential.Client {
	return must(confidential.New(authority, id, credential, options...))
}

// Gets a token from the network. This function of the library never reads the cache.
func cold(application confidential.Client, scopes []string) string {
	return must(application.AcquireTokenByCredential(ctx, scopes)).AccessToken
}

// Gets a token from the cache. The library sends no request for this call.
func hit(application confidential.Client, scopes []string) {
	must(application.AcquireTokenSilent(ctx, scopes))
}

func legs() func() {
	pem := must(os.ReadFile(os.Getenv("CERTBOUND_EMULATOR_CERTIFICATE")))
	chain, key, err := confidential.CertFromPEM(pem, "")
	leg1 := client(app, must(confidential.NewCredFromCert(chain, must(key, err))), confidential.WithX5C())
	assertion := func(context.Context, confidential.AssertionRequestOptions) (string, error) {
		return cold(leg1, exchange), nil
	}
	leg2 := client(app, confidential.NewCredFromAssertionCallback(assertion))
	return func() { cold(leg2, scope) }
}

// An HTTP client that sends nothing. It returns the endpoints for a GET, and the same token for every other request.
type inProcess struct{}

func (inProcess) CloseIdleConnections() {}

func (inProcess) Do(request *http.Request) (*http.Response, error) {
	endpoints := `{"authorization_endpoint":"` + authority + `/oauth2/v2.0/authorize","issuer":"` + authority +
		`/v2.0","token_endpoint":"` + authority + `/oauth2/v2.0/token"}`
	body := `{"token_type":"Bearer","expires_in":86399,"ext_expires_in":86399,"access_token":"` +
		strings.Repeat("t", 1500) + `"}`
	if request.Method == http.MethodGet {
		body = endpoints
	}
	header := http.Header{"Content-Type": {"application/json"}}
	return &http.Response{
		StatusCode: http.StatusOK, Header: header, Request: request, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// Requests 10000 tokens one by one to fill the cache, and returns a task that reads a random one of them.
func many() func() {
	credential := must(confidential.NewCredFromSecret(secret))
	application := client(secretApp, credential, confidential.WithHTTPClient(inProcess{}), confidential.WithInstanceDiscovery(false))
	scopes := make([][]string, 10_000)
	for number := range scopes {
		scopes[number] = []string{fmt.Sprintf("api://00000000-0000-4000-8000-%012d/.default", number)}
		cold(application, scopes[number])
	}
	order := rand.New(rand.NewSource(1))
	return func() { hit(application, scopes[order.Intn(len(scopes))]) }
}

// Returns the CPU time of all threads of this process in nanoseconds, and its peak memory in bytes.
func used() (int64, int64) {
	var usage syscall.Rusage
	must(0, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage.Utime.Nano() + usage.Stime.Nano(), usage.Maxrss * 1024
}

func main() {
	application := client(secretApp, must(confidential.NewCredFromSecret(secret)))
	cold(application, scope)
	if len(os.Args) > 1 && os.Args[1] == "once" {
		fmt.Println(used())
		return
	}
	tasks := map[string]func(){
		"hit":  func() { hit(application, scope) },
		"cold": func() { cold(application, scope) },
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		name, number, _ := strings.Cut(lines.Text(), " ")
		count := must(strconv.Atoi(number))
		if tasks[name] == nil {
			tasks[name] = map[string]func() func(){"pair": legs, "many": many}[name]()
		}
		task := tasks[name]
		before, _ := used()
		for range make([]struct{}, count) {
			task()
		}
		after, _ := used()
		fmt.Println(after - before)
	}
}
