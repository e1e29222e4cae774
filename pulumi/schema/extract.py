#!/usr/bin/env python3
"""Rebuild the part of the AWS provider's Pulumi schema that this program uses.

The provider's own schema.json is in no package registry, but its Python SDK is generated from it, and carries the same
facts in its annotations: wire names, types, what is required, what is secret, what is deprecated. This reads them back
into Pulumi's schema format, so that the provider's own schema can take this file's place one day.

    pip download --no-deps --dest DIR pulumi-aws==7.51.1
    python3 -m zipfile -e DIR/pulumi_aws-*.whl DIR
    python3 pulumi/schema/extract.py DIR pulumi/schema/wanted.txt pulumi/schema/aws.json

Left out: descriptions, deprecated inputs, properties that wanted.txt leaves out with a hyphen, and the values of enums
that are catalogues (instance classes), which are strings.
"""

import ast
import json
import pathlib
import re
import sys

CATALOGUE = 40  # an enum with more values than this changes with every release of the provider
PROVIDER = ("allowedAccountIds", "region")  # what is set on the provider itself
PRIMITIVES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


class Sdk:
    """The Python SDK, parsed and never imported."""

    def __init__(self, root):
        self.root = root
        self.parsed = {}

    def definitions(self, file):
        if file not in self.parsed:
            body = ast.parse(file.read_text()).body if file.exists() else []
            self.parsed[file] = {
                node.name: node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef))
            }
        return self.parsed[file]

    def file(self, path):
        """The file of `ec2/natGateway`, `index/getCallerIdentity`."""
        module, name = path.split("/")
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        folder = self.root if module == "index" else self.root / module
        plain = folder / f"{snake}.py"
        return plain if plain.exists() else folder / f"{snake}_.py"

    def enum(self, module, name):
        folder = self.root if module == "index" else self.root / module
        found = self.definitions(folder / "_enums.py").get(name)
        if found is None:
            return None
        values = []
        for node in found.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                values.append({"name": node.targets[0].id, "value": node.value.value})
        return values


class Extract:
    def __init__(self, sdk):
        self.sdk = sdk
        self.types = {}
        self.pending = []

    # Annotations ------------------------------------------------------------------------------------------------------

    def type_of(self, node, module):
        """(schema type, may it be absent?) of an annotation."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"[\w.]+", node.value):
                return self.reference(node.value, module), False
            return self.type_of(ast.parse(node.value, mode="eval").body, module)
        if isinstance(node, ast.Subscript):
            outer = ast.unparse(node.value)
            if outer == "Optional":
                return self.type_of(node.slice, module)[0], True
            if outer in ("pulumi.Input", "pulumi.Output"):
                return self.type_of(node.slice, module)
            if outer == "Sequence":
                return {"type": "array", "items": self.type_of(node.slice, module)[0]}, False
            if outer == "Mapping":
                return {
                    "type": "object",
                    "additionalProperties": self.type_of(node.slice.elts[1], module)[0],
                }, False
            if outer == "Union":  # a string, or one of an enum's values, or a policy document's class
                for option in node.slice.elts:
                    found = self.type_of(option, module)[0]
                    if "$ref" in found:
                        return found, False
                return {"type": "string"}, False
        name = ast.unparse(node).removeprefix("_builtins.")
        if name in PRIMITIVES:
            return {"type": PRIMITIVES[name]}, False
        if name == "Any":
            return {"$ref": "pulumi.json#/Any"}, False
        if re.fullmatch(r"[\w.]+", name):
            return self.reference(name, module), False
        raise SystemExit(f"{module}: no rule for the annotation {ast.unparse(node)}")

    def reference(self, name, module):
        *qualifier, base = name.split(".")
        if qualifier and qualifier[0].startswith("_"):
            module = qualifier[0].strip("_")
        base = base.removesuffix("Args")
        values = self.sdk.enum(module, base)
        token = f"aws:{module}/{base}:{base}"
        if values is not None:
            if len(values) > CATALOGUE:
                return {"type": "string"}
            self.types[token] = {"type": "string", "enum": values}
            return {"$ref": f"#/types/{token}"}
        folder = self.sdk.root if module == "index" else self.sdk.root / module
        if base not in self.sdk.definitions(folder / "outputs.py") and (
            f"{base}Args" not in self.sdk.definitions(folder / "_inputs.py")
            or base in ("PolicyDocument", "LifecyclePolicyDocument")  # written as JSON text by every program
        ):
            return {"type": "string"}
        if token not in self.types:
            self.types[token] = None
            self.pending.append((token, module, base))
        return {"$ref": f"#/types/{token}"}

    # Classes ----------------------------------------------------------------------------------------------------------

    def getters(self, cls):
        """(wire name, annotation, deprecated?) of every property."""
        for node in cls.body:
            if not isinstance(node, ast.FunctionDef) or node.returns is None:
                continue
            wire, deprecated = None, False
            for decorator in node.decorator_list:
                text = ast.unparse(decorator)
                if text == "pulumi.getter":
                    wire = node.name
                elif text.startswith("pulumi.getter("):
                    wire = decorator.keywords[0].value.value
                deprecated |= text.startswith("_utilities.deprecated")
            if wire is not None:
                yield wire, node.returns, deprecated

    def properties(self, cls, module, deprecated_too, without=()):
        found, required = {}, []
        for wire, annotation, deprecated in self.getters(cls):
            if wire in without or (deprecated and not deprecated_too):
                continue
            kind, optional = self.type_of(annotation, module)
            found[wire] = kind
            if not optional:
                required.append(wire)
        return found, sorted(required)

    def resource(self, token, without):
        path, name = token.split(":")
        module = path.split("/")[0]
        classes = self.sdk.definitions(self.sdk.file(path))
        # "InitArgs" where a nested type has the plain name.
        args = classes.get(f"{name}Args") or classes[f"{name}InitArgs"]
        inputs, required_inputs = self.properties(args, module, False, without)
        outputs, required = self.properties(classes[name], module, False, without)
        source = ast.unparse(classes[name])
        for snake in re.findall(r"__props__\.__dict__\['(\w+)'\] = None if \w+ is None else pulumi\.Output\.secret", source):
            wire = next(w for w in inputs if w.lower() == snake.replace("_", "").lower())
            inputs[wire] = dict(inputs[wire], secret=True)
        for listed in re.findall(r"additional_secret_outputs=\[([^\]]*)\]", source):
            for wire in re.findall(r"'(\w+)'", listed):
                if wire in outputs:
                    outputs[wire] = dict(outputs[wire], secret=True)
        return {
            "inputProperties": inputs,
            "requiredInputs": required_inputs,
            "properties": outputs,
            "required": required,
        }

    def function(self, token):
        path, name = token.split(":")
        module = path.split("/")[0]
        definitions = self.sdk.definitions(self.sdk.file(path))
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        call = definitions[snake]
        wire = dict(re.findall(r"__args__\['(\w+)'\] = (\w+)", ast.unparse(call)))
        wire = {parameter: name for name, parameter in wire.items()}
        inputs, required = {}, []
        for parameter in call.args.args:
            if parameter.arg in wire:
                kind, optional = self.type_of(parameter.annotation, module)
                inputs[wire[parameter.arg]] = kind
                if not optional:
                    required.append(wire[parameter.arg])
        outputs, _ = self.properties(definitions[name[0].upper() + name[1:] + "Result"], module, deprecated_too=False)
        return {
            "inputs": {"type": "object", "properties": inputs, "required": sorted(required)},
            "outputs": {"type": "object", "properties": outputs},
        }

    def nested(self):
        while self.pending:
            token, module, base = self.pending.pop()
            folder = self.sdk.root if module == "index" else self.sdk.root / module
            outputs = self.sdk.definitions(folder / "outputs.py").get(base)
            inputs = self.sdk.definitions(folder / "_inputs.py").get(f"{base}Args")
            settable, required = self.properties(inputs, module, False) if inputs else ({}, [])
            seen, _ = self.properties(outputs, module, False) if outputs else ({}, [])
            seen.update(settable)
            self.types[token] = {"type": "object", "properties": seen, "required": required}


def main():
    root, wanted, out = (pathlib.Path(argument) for argument in sys.argv[1:])
    sdk = Sdk(root / "pulumi_aws")
    extract = Extract(sdk)
    resources, functions = {}, {}
    for line in wanted.read_text().splitlines():
        token, *without = line.split("#")[0].split() or [""]
        if not token:
            continue
        if token.split(":")[1][0].islower():
            functions[f"aws:{token}"] = extract.function(token)
        else:
            resources[f"aws:{token}"] = extract.resource(token, [it.removeprefix("-") for it in without])
    provider = {}
    for name, annotation, _ in extract.getters(sdk.definitions(sdk.root / "provider.py")["ProviderArgs"]):
        if name in PROVIDER:
            provider[name] = extract.type_of(annotation, "index")[0]
    extract.nested()
    version = json.loads((sdk.root / "pulumi-plugin.json").read_text())["version"]
    schema = {
        "name": "aws",
        "version": version,
        "description": f"Made by extract.py from the Python package pulumi-aws {version}. Do not edit.",
        "provider": {"inputProperties": provider},
        "resources": dict(sorted(resources.items())),
        "functions": dict(sorted(functions.items())),
        "types": dict(sorted(extract.types.items())),
    }
    out.write_text(json.dumps(schema, indent=1) + "\n")
    print(f"{len(resources)} resources, {len(functions)} functions, {len(extract.types)} types, {out.stat().st_size} bytes")


main()
