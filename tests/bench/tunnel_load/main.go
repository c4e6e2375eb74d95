// Command tunnel_load is both ends of a tunnel's traffic: the services behind the agent, and the clients of the gateway;
// and, where that is asked for, a long way between the two.
// It is told what to do in lines of JSON, as load.ts is. It is written in Go, and with Go's own library only, because it
// then costs a fraction of what the gateways do: what is measured on two cores is then the gateway and its agent.
//
// Usage: tunnel_load services HOSTNAME | clients | delay FROM TO DURATION
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

type answer struct {
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "services":
		ports, err := serve(os.Args[2])
		exitOn(err)
		exitOn(json.NewEncoder(os.Stdout).Encode(ports))
		io.Copy(io.Discard, os.Stdin) // until whoever started it has ended
	case len(os.Args) == 2 && os.Args[1] == "clients":
		takeJobs()
	case len(os.Args) == 5 && os.Args[1] == "delay":
		by, err := time.ParseDuration(os.Args[4])
		exitOn(err)
		exitOn(delay(os.Args[2], os.Args[3], by))
		exitOn(json.NewEncoder(os.Stdout).Encode(struct{}{}))
		io.Copy(io.Discard, os.Stdin)
	default:
		exitOn(fmt.Errorf("usage: tunnel_load services HOSTNAME | clients | delay FROM TO DURATION"))
	}
}

func takeJobs() {
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var next job
		exitOn(json.Unmarshal(in.Bytes(), &next))
		result, err := next.perform()
		if err != nil {
			out.Encode(answer{Error: err.Error()})
		} else {
			out.Encode(answer{Result: result})
		}
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
