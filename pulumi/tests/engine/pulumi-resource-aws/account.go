package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// What was made: a file for each resource, named by its id.
type account struct {
	folder string
	// Held for a look and what follows from it, not for the time that a change takes.
	looking sync.Mutex
}

type resource struct {
	Urn    string          `json:"urn"`
	Type   string          `json:"type"`
	Name   string          `json:"name"`
	ID     string          `json:"id"`
	Inputs json.RawMessage `json:"inputs,omitempty"`
}

// Its name with AWS, if it is given one.
func (it resource) name() string {
	var inputs map[string]any
	if json.Unmarshal(it.Inputs, &inputs) != nil {
		return ""
	}
	name, _ := inputs["name"].(string)
	return name
}

const (
	role       = "aws:iam/role:Role"
	linked     = "aws:iam/serviceLinkedRole:ServiceLinkedRole"
	profile    = "aws:iam/instanceProfile:InstanceProfile"
	attachment = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
	zone       = "aws:route53/zone:Zone"
	roleArn    = "arn:aws:iam::111122223333:role/"
	linkedArn  = roleArn + "aws-service-role/mgn.amazonaws.com/AWSServiceRoleForApplicationMigrationService"
)

// Ids look like nobody else's, so whatever holds one has it from here. A role's id is its name, which may be said of a
// role that is yet to be; its ARN is had from here.
var ids = regexp.MustCompile(`made-[0-9a-f]{17}|` + roleArn + `[A-Za-z0-9-]+`)

// The ids in a text.
func named(text []byte) []string {
	var found []string
	for _, id := range ids.FindAllString(string(text), -1) {
		found = append(found, strings.TrimPrefix(id, roleArn))
	}
	return found
}

// By its id AWS's provider takes up what exists: of these it is not AWS that makes it up.
func newID(kind string, inputs *structpb.Struct) string {
	switch kind {
	case role, profile:
		return inputs.GetFields()["name"].GetStringValue()
	case linked:
		// MGN's is the only one that is made.
		return linkedArn
	}
	random := make([]byte, 9)
	// It never fails, by its documentation.
	_, _ = rand.Read(random)
	return "made-" + hex.EncodeToString(random)[:17]
}

// Logs the beginning, takes the time of a change, does it, and logs the end, or what was said against it.
func (a *account) change(what string, it resource, inputs *structpb.Struct, do func() error) error {
	if err := a.log(what, "begins", it, ""); err != nil {
		return err
	}
	time.Sleep(moment)
	a.looking.Lock()
	err := do()
	a.looking.Unlock()
	if err != nil {
		return errors.Join(err, a.log(what, "refused", it, err.Error()))
	}
	return a.log(what, "ends", it, "")
}

func (a *account) log(what, when string, it resource, why string) error {
	line, err := json.Marshal(map[string]string{
		"what": what, "when": when, "urn": it.Urn, "type": it.Type, "name": it.Name, "id": it.ID, "why": why,
	})
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(a.folder, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

func (a *account) add(it resource, inputs *structpb.Struct) error {
	there, err := a.all()
	if err != nil {
		return err
	}
	name := inputs.GetFields()["name"].GetStringValue()
	if it.Type == zone {
		// Zones may share a name.
		name = ""
	}
	for _, other := range there {
		if other.Type != it.Type || other.Name != it.Name && (name == "" || other.name() != name) {
			continue
		}
		if it.Type != attachment {
			return status.Errorf(codes.AlreadyExists, "%s %s exists: %s", it.Type, it.Name, other.Urn)
		}
		// To attach a policy once more is no fault with AWS.
		if err := os.Remove(a.file(other.Type, other.ID)); err != nil {
			return err
		}
	}
	return a.put(it, inputs)
}

func (a *account) put(it resource, inputs *structpb.Struct) error {
	text, err := protojson.Marshal(inputs)
	if err != nil {
		return err
	}
	for _, id := range named(text) {
		if _, err := os.Stat(a.file(role, id)); err != nil {
			return status.Errorf(codes.NotFound, "%s %s names %s, which does not exist", it.Type, it.Name, id)
		}
	}
	it.Inputs = text
	whole, err := json.Marshal(it)
	if err != nil {
		return err
	}
	return os.WriteFile(a.file(it.Type, it.ID), whole, 0o600)
}

func (a *account) remove(it resource) error {
	there, err := a.all()
	if err != nil {
		return err
	}
	for _, other := range there {
		for _, id := range named(other.Inputs) {
			if id == it.ID && other.ID != it.ID {
				return status.Errorf(codes.FailedPrecondition, "%s is needed by %s", it.Urn, other.Urn)
			}
		}
	}
	return os.Remove(a.file(it.Type, it.ID))
}

// What a function finds that looks for roles, put into its answer.
func (a *account) look(token string, answer map[string]*structpb.Value) error {
	a.looking.Lock()
	there, err := a.all()
	a.looking.Unlock()
	if err != nil {
		return err
	}
	roles := map[string]resource{}
	for _, it := range there {
		if it.Type == role || it.Type == linked {
			roles[path.Base(it.ID)] = it
		}
	}
	switch token {
	case "aws:iam/getRoles:getRoles":
		pattern, err := regexp.Compile(answer["nameRegex"].GetStringValue())
		if err != nil {
			return err
		}
		names := &structpb.ListValue{}
		for name := range roles {
			if pattern.MatchString(name) {
				names.Values = append(names.Values, structpb.NewStringValue(name))
			}
		}
		answer["names"] = structpb.NewListValue(names)
	case "aws:iam/getRole:getRole":
		name := answer["name"].GetStringValue()
		it, found := roles[name]
		if !found {
			return status.Errorf(codes.NotFound, "there is no role %s", name)
		}
		inputs := &structpb.Struct{}
		if err := protojson.Unmarshal(it.Inputs, inputs); err != nil {
			return err
		}
		answer["arn"] = structpb.NewStringValue(roleArn + strings.TrimPrefix(it.ID, roleArn))
		answer["tags"] = inputs.Fields["tags"]
	}
	return nil
}

// Nothing, and no error, if it does not exist.
func (a *account) inputs(kind, id string) (*structpb.Struct, error) {
	a.looking.Lock()
	defer a.looking.Unlock()
	text, err := os.ReadFile(a.file(kind, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var it resource
	inputs := &structpb.Struct{}
	return inputs, errors.Join(err, json.Unmarshal(text, &it), protojson.Unmarshal(it.Inputs, inputs))
}

func (a *account) all() ([]resource, error) {
	files, err := filepath.Glob(filepath.Join(a.folder, "made-*"))
	if err != nil {
		return nil, err
	}
	var found []resource
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var it resource
		if err := json.Unmarshal(text, &it); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		found = append(found, it)
	}
	return found, nil
}

func (a *account) file(kind, id string) string {
	if !strings.HasPrefix(id, "made-") {
		id = strings.ReplaceAll("made-"+kind+"-"+id, "/", "-")
	}
	return filepath.Join(a.folder, id)
}
