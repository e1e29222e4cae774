package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// How Pulumi marks an object as a secret, and what stands for a value that is not known yet.
const (
	special = "4dabf18193072939515e22adb298388d"
	secret  = "1b47061264138c4ac30d75fd1eb44270"
	unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
)

// The part of schema/aws.json that answers are made of.
type schema struct {
	Version   string              `json:"version"`
	Provider  object              `json:"provider"`
	Resources map[string]object   `json:"resources"`
	Functions map[string]function `json:"functions"`
	Types     map[string]property `json:"types"`
}

type object struct {
	InputProperties map[string]property `json:"inputProperties"`
	RequiredInputs  []string            `json:"requiredInputs"`
	Properties      map[string]property `json:"properties"`
}

type function struct {
	Inputs  property `json:"inputs"`
	Outputs property `json:"outputs"`
}

type property struct {
	Type       string              `json:"type"`
	Ref        string              `json:"$ref"`
	Secret     bool                `json:"secret"`
	Items      *property           `json:"items"`
	Properties map[string]property `json:"properties"`
	Enum       []struct {
		Value any `json:"value"`
	} `json:"enum"`
}

func readSchema(path string) (*schema, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading SLIPWAY_TEST_SCHEMA: %w", err)
	}
	read := &schema{}
	return read, json.Unmarshal(text, read)
}

// The inputs, and all else that the type has: unknown without an id, which is in a preview.
func (s *schema) answer(kind, id string, inputs *structpb.Struct) *structpb.Struct {
	answer := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for property, value := range inputs.GetFields() {
		answer.Fields[property] = value
	}
	for property, it := range s.Resources[kind].Properties {
		if _, given := answer.Fields[property]; given {
			continue
		}
		value := structpb.NewStringValue(unknown)
		if id != "" {
			value = s.value(property, it, id, 3)
		}
		if it.Secret {
			value = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
				special: structpb.NewStringValue(secret), "value": value,
			}})
		}
		answer.Fields[property] = value
	}
	if kind == role && id != "" {
		answer.Fields["arn"] = structpb.NewStringValue(roleArn + id)
	}
	return answer
}

// A value of the property's type. Texts hold the id, so that whoever uses one names the resource. `depth` ends types
// that hold themselves.
func (s *schema) value(name string, it property, id string, depth int) *structpb.Value {
	if it.Ref != "" {
		it = s.Types[strings.TrimPrefix(it.Ref, "#/types/")]
	}
	if len(it.Enum) > 0 {
		// An enum's values are texts or numbers, which always convert.
		value, _ := structpb.NewValue(it.Enum[0].Value)
		return value
	}
	switch it.Type {
	case "string":
		if name == "arn" || strings.HasSuffix(name, "Arn") {
			return structpb.NewStringValue("arn:aws:made:us-east-1:111122223333:" + name + "/" + id)
		}
		return structpb.NewStringValue(name + "-" + id)
	case "integer", "number":
		return structpb.NewNumberValue(1)
	case "boolean":
		return structpb.NewBoolValue(false)
	case "array":
		list := &structpb.ListValue{}
		for depth > 0 && it.Items != nil && len(list.Values) < 3 {
			list.Values = append(list.Values, s.value(name, *it.Items, id, depth-1))
		}
		return structpb.NewListValue(list)
	default:
		fields := map[string]*structpb.Value{}
		for name, it := range it.Properties {
			if depth > 0 {
				fields[name] = s.value(name, it, id, depth-1)
			}
		}
		return structpb.NewStructValue(&structpb.Struct{Fields: fields})
	}
}

// What a function answers, as far as it is not looked for: lists are empty.
func (s *schema) call(token string, arguments *structpb.Struct) (map[string]*structpb.Value, error) {
	known, found := s.Functions[token]
	if !found {
		return nil, status.Errorf(codes.NotFound, "%s is not in the schema", token)
	}
	answer := map[string]*structpb.Value{}
	for name, it := range known.Outputs.Properties {
		if it.Type == "array" {
			answer[name] = structpb.NewListValue(&structpb.ListValue{})
		} else {
			answer[name] = s.value(name, it, "of-"+token, 1)
		}
	}
	for name, value := range arguments.GetFields() {
		answer[name] = value
	}
	switch token {
	case "aws:index/getCallerIdentity:getCallerIdentity":
		answer["accountId"] = structpb.NewStringValue("111122223333")
	case "aws:index/getAvailabilityZones:getAvailabilityZones":
		names := &structpb.ListValue{}
		for _, zone := range []string{"a", "b", "c", "d"} {
			names.Values = append(names.Values, structpb.NewStringValue("us-east-1"+zone))
		}
		answer["names"] = structpb.NewListValue(names)
	case "aws:secretsmanager/getRandomPassword:getRandomPassword":
		// Another one each time, as AWS's. Tests look for how it begins.
		answer["randomPassword"] = structpb.NewStringValue("secretCanaryPassword" + rand.Text())
	}
	return answer, nil
}
