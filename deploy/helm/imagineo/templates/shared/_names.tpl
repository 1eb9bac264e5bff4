{{/* Names and labels. Each takes the root context, or a dict `root`, `name` (a component such as `auth`). */}}

{{/*
The first part of every name. The longest rest is `-worker-` with a pool's 20 characters: names that are labels too, of
jobs and ScaledObjects, stay within the 63 of a label. In: root. Out: text.
*/}}
{{- define "imagineo.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 35 | trimSuffix "-" -}}
{{- end }}

{{/* A component's name. In: root, name. Out: text. */}}
{{- define "imagineo.component" -}}
{{- printf "%s-%s" (include "imagineo.name" .root) .name -}}
{{- end }}

{{/* What selects a component's pods; never changes, because a Deployment's selector may not. In: root, name. */}}
{{- define "imagineo.selector" -}}
app.kubernetes.io/name: imagineo
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* Labels of a component's resources. In: root, name. */}}
{{- define "imagineo.labels" -}}
{{ include "imagineo.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Head of a component's resource. In: root, name. Out: the fields of `metadata`. */}}
{{- define "imagineo.metadata" -}}
name: {{ include "imagineo.component" . }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "imagineo.labels" . | nindent 2 }}
{{- end }}

{{/* One of the images. In: root, kind (`control`, `worker` or `workerCompile`). Out: text. */}}
{{- define "imagineo.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := get $image .kind -}}
{{- if $image.registry }}{{ $name = printf "%s/%s" $image.registry $name }}{{ end -}}
{{- with get $image (printf "%sDigest" .kind) -}}
{{ $name }}@{{ . }}
{{- else -}}
{{ $name }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Where a gRPC service is called: round robin over the addresses of its pods. In: root, name. Out: text. */}}
{{- define "imagineo.address" -}}
{{- printf "dns:///%s:%v" (include "imagineo.component" .) (include "imagineo.port" .name) -}}
{{- end }}

{{/* The port of a service. In: its name. Out: text. */}}
{{- define "imagineo.port" -}}
{{- get (dict "gateway" "8000" "auth" "50051" "catalog" "50052" "status" "50053" "webhooks" "50054" "metrics" "9090") . -}}
{{- end }}
