// Command pulumi-resource-aws is the tests' own provider: it answers for AWS to Pulumi's engine, and knows AWS only by
// the schema that the program is typed by. What it has made is in files, so that it can refuse what an account refuses: an
// input that names what does not exist, a name that is taken, the deletion of what others still name.
//
//	SLIPWAY_TEST_SCHEMA   schema/aws.json
//	SLIPWAY_TEST_ACCOUNT  the folder of what was made, a file for each resource, and of `log`, a line for each beginning
//	                      and each end of a change
//	SLIPWAY_TEST_REFUSE   a type, the creation and the change of which are refused
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"time"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"slipway.dev/infra/engine/serve"
)

// A change takes a moment, so that two that must not overlap are seen to.
const moment = 20 * time.Millisecond

type cloud struct {
	pulumirpc.UnimplementedResourceProviderServer
	schema  *schema
	account *account
	refuse  string
}

func main() {
	schema, err := readSchema(os.Getenv("SLIPWAY_TEST_SCHEMA"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	account := &account{folder: os.Getenv("SLIPWAY_TEST_ACCOUNT")}
	serve.Plugin(func(server *grpc.Server, _ string) {
		it := &cloud{schema: schema, account: account, refuse: os.Getenv("SLIPWAY_TEST_REFUSE")}
		pulumirpc.RegisterResourceProviderServer(server, it)
	})
}

func (c *cloud) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: c.schema.Version}, nil
}

func (c *cloud) CheckConfig(_ context.Context, it *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	known := c.schema.Provider
	known.InputProperties = maps.Clone(known.InputProperties)
	// The engine puts the version that was asked for among the inputs.
	known.InputProperties["version"] = property{Type: "string"}
	return checked(it.News, known), nil
}

func (c *cloud) DiffConfig(_ context.Context, it *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return diff(it.OldInputs, it.News), nil
}

func (c *cloud) Configure(context.Context, *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	return &pulumirpc.ConfigureResponse{AcceptSecrets: true, SupportsPreview: true}, nil
}

func (c *cloud) Invoke(_ context.Context, it *pulumirpc.InvokeRequest) (*pulumirpc.InvokeResponse, error) {
	answer, err := c.schema.call(it.Tok, it.Args)
	if err != nil {
		return nil, err
	}
	if err := c.account.look(it.Tok, answer); err != nil {
		return nil, err
	}
	return &pulumirpc.InvokeResponse{Return: &structpb.Struct{Fields: answer}}, nil
}

func (c *cloud) Check(_ context.Context, it *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	known, found := c.schema.Resources[it.Type]
	if !found {
		return nil, status.Errorf(codes.NotFound, "%s is not in the schema", it.Type)
	}
	return checked(it.News, known), nil
}

func (c *cloud) Diff(_ context.Context, it *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return diff(it.OldInputs, it.News), nil
}

func (c *cloud) Create(_ context.Context, it *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	if it.Preview {
		return &pulumirpc.CreateResponse{Properties: c.schema.answer(it.Type, "", it.Properties)}, nil
	}
	if err := c.refused(it.Type); err != nil {
		return nil, err
	}
	id := newID(it.Type, it.Properties)
	made := resource{Urn: it.Urn, Type: it.Type, Name: it.Name, ID: id}
	err := c.account.change("create", made, it.Properties, func() error { return c.account.add(made, it.Properties) })
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CreateResponse{Id: id, Properties: c.schema.answer(it.Type, id, it.Properties)}, nil
}

func (c *cloud) Read(_ context.Context, it *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	inputs, err := c.account.inputs(it.Type, it.Id)
	if err != nil || inputs == nil {
		return &pulumirpc.ReadResponse{}, err
	}
	properties := c.schema.answer(it.Type, it.Id, inputs)
	return &pulumirpc.ReadResponse{Id: it.Id, Inputs: inputs, Properties: properties}, nil
}

func (c *cloud) Update(_ context.Context, it *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	if !it.Preview {
		if err := c.refused(it.Type); err != nil {
			return nil, err
		}
		changed := resource{Urn: it.Urn, Type: it.Type, Name: it.Name, ID: it.Id}
		err := c.account.change("update", changed, it.News, func() error { return c.account.put(changed, it.News) })
		if err != nil {
			return nil, err
		}
	}
	return &pulumirpc.UpdateResponse{Properties: c.schema.answer(it.Type, it.Id, it.News)}, nil
}

func (c *cloud) Delete(_ context.Context, it *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	gone := resource{Urn: it.Urn, Type: it.Type, Name: it.Name, ID: it.Id}
	err := c.account.change("delete", gone, nil, func() error { return c.account.remove(gone) })
	return &emptypb.Empty{}, err
}

func (c *cloud) refused(kind string) error {
	if kind != c.refuse {
		return nil
	}
	return status.Errorf(codes.ResourceExhausted, "the account takes no more of %s", kind)
}

// Inputs that the type has not, or lacks, are refused.
func checked(news *structpb.Struct, known object) *pulumirpc.CheckResponse {
	response := &pulumirpc.CheckResponse{Inputs: news}
	fail := func(property, reason string) {
		failure := &pulumirpc.CheckFailure{Property: property, Reason: reason}
		response.Failures = append(response.Failures, failure)
	}
	for name := range news.GetFields() {
		if _, found := known.InputProperties[name]; !found {
			fail(name, "there is no such input")
		}
	}
	for _, name := range known.RequiredInputs {
		if _, found := news.GetFields()[name]; !found {
			fail(name, "is required")
		}
	}
	return response
}

// Which changes make AWS replace a resource is not in the schema: here everything can be changed in place.
func diff(olds, news *structpb.Struct) *pulumirpc.DiffResponse {
	response := &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}
	names := map[string]bool{}
	for _, fields := range []*structpb.Struct{olds, news} {
		for name := range fields.GetFields() {
			names[name] = true
		}
	}
	for name := range names {
		if !proto.Equal(olds.GetFields()[name], news.GetFields()[name]) {
			response.Changes = pulumirpc.DiffResponse_DIFF_SOME
			response.Diffs = append(response.Diffs, name)
		}
	}
	return response
}
