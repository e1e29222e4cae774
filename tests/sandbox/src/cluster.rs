//! A real Kubernetes API: etcd and kube-apiserver, with RBAC, and the operator's own identity.

pub mod binaries;
