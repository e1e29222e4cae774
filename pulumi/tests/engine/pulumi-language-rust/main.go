// Command pulumi-language-rust is the tests' language host: it starts a program for Pulumi's engine, as hosts for Rust do.
//
// The program is the file that SLIPWAY_TEST_PROGRAM names, or else `cargo run` in the project's folder.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"slipway.dev/infra/engine/serve"
)

type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	engine string
}

func main() {
	serve.Plugin(func(server *grpc.Server, engine string) {
		pulumirpc.RegisterLanguageRuntimeServer(server, &host{engine: engine})
	})
}

func (h *host) Handshake(
	_ context.Context, request *pulumirpc.LanguageHandshakeRequest,
) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.engine = request.EngineAddress
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: "0.0.0"}, nil
}

// Each registration says which version of which provider it wants, so nothing is named beforehand.
func (h *host) GetRequiredPackages(
	context.Context, *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	return &pulumirpc.GetRequiredPackagesResponse{}, nil
}

func (h *host) Run(ctx context.Context, request *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	config, err := json.Marshal(request.Config)
	if err != nil {
		return nil, err
	}
	secretKeys, err := json.Marshal(append([]string{}, request.ConfigSecretKeys...))
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "cargo", "run", "--quiet")
	if program := os.Getenv("SLIPWAY_TEST_PROGRAM"); program != "" {
		command = exec.CommandContext(ctx, program)
	}
	var errors bytes.Buffer
	command.Dir = request.Info.ProgramDirectory
	command.Stderr = &errors
	command.Env = append(os.Environ(),
		"PULUMI_MONITOR="+request.MonitorAddress,
		"PULUMI_ENGINE="+h.engine,
		"PULUMI_PROJECT="+request.Project,
		"PULUMI_STACK="+request.Stack,
		"PULUMI_ORGANIZATION="+request.Organization,
		"PULUMI_ROOT_DIRECTORY="+request.Info.RootDirectory,
		"PULUMI_DRY_RUN="+strconv.FormatBool(request.DryRun),
		"PULUMI_PARALLEL="+strconv.Itoa(int(request.Parallel)),
		"PULUMI_CONFIG="+string(config),
		"PULUMI_CONFIG_SECRET_KEYS="+string(secretKeys),
	)
	if err := command.Run(); err != nil {
		said := strings.TrimSpace(errors.String())
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("the program ended with %v: %s", err, said)}, nil
	}
	return &pulumirpc.RunResponse{}, nil
}
