// Package serve runs a plugin of Pulumi's: a server on loopback that ends with an interrupt, or with the engine.
package serve

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"google.golang.org/grpc"
)

// Plugin serves what `register` registers. The engine's address is the last argument.
func Plugin(register func(server *grpc.Server, engine string)) {
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "%s is started by pulumi, with the engine's address\n", os.Args[0])
		os.Exit(1)
	}
	engine := os.Args[len(os.Args)-1]
	if err := serve(engine, func(server *grpc.Server) { register(server, engine) }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(engine string, register func(*grpc.Server)) error {
	ended, end := signal.NotifyContext(context.Background(), os.Interrupt)
	defer end()
	if err := rpcutil.Healthcheck(ended, engine, time.Minute, end); err != nil {
		return err
	}
	cancel := make(chan bool)
	go func() { <-ended.Done(); close(cancel) }()
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: cancel,
		Init:   func(server *grpc.Server) error { register(server); return nil },
	})
	if err != nil {
		return err
	}
	// The engine reads the port from the first line.
	fmt.Println(handle.Port)
	return <-handle.Done
}
