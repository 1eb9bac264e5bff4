{{/* What all pods of the platform have in common. */}}

{{/* Fields of a pod's spec that do not depend on what it runs. In: root, name, values. */}}
{{- define "imagineo.pod" -}}
serviceAccountName: {{ include "imagineo.component" . }}
automountServiceAccountToken: false
# Else Kubernetes adds variables such as IMAGINEO_AUTH_PORT, which read like settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- range $field, $id := .root.Values.podSecurity }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $field }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- include "imagineo.placement" . }}
{{- end }}

{{/* Where a pod runs, how much it counts, and what fetches its images. In: root, values. */}}
{{- define "imagineo.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels and annotations of a pod. In: root, name; pool; of (whose `podLabels` and `podAnnotations`; without: name's). */}}
{{- define "imagineo.pod.metadata" -}}
{{- $of := .of | default .name -}}
labels:
  {{- include "imagineo.labels" . | nindent 2 }}
  {{- with .pool }}
  imagineo/pool: {{ . }}
  {{- end }}
  {{- with get .root.Values.podLabels $of }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with get .root.Values.podAnnotations $of }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Fields of a container: image and rights. In: root, kind (as of `imagineo.image`). */}}
{{- define "imagineo.container" -}}
image: {{ include "imagineo.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
# Why it ended stands in the pod itself.
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Pods of one component over nodes and zones, as far as it goes. In: root, name. */}}
{{- define "imagineo.spread" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "imagineo.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}

{{/* Authorities of servers that a component speaks to. In: root, name. Out: JSON, the Secret of each by its party. */}}
{{- define "imagineo.authorities" -}}
{{- $found := dict -}}
{{- range $party, $names := dict
  "nats" (list "gateway" "auth" "status" "webhooks" "worker" "job-queues")
  "postgres" (list "auth" "catalog" "status" "webhooks" "job-migrations" "job-models")
  "blobs" (list "gateway" "catalog" "status" "worker" "job-models")
}}
{{- $secret := (get $.root.Values $party).caSecret }}
{{- if and $secret (has $.name $names) }}{{ $_ := set $found $party $secret }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* Mounts that every container has. In: root, name. */}}
{{- define "imagineo.mounts" -}}
- name: scratch
  mountPath: /tmp
{{- if and .root.Values.mtls.enabled (not (hasPrefix "job" .name)) }}
- name: tls
  mountPath: /etc/imagineo/tls
  readOnly: true
{{- end }}
{{- range $party, $_ := include "imagineo.authorities" . | fromJson }}
- name: {{ $party }}-ca
  mountPath: /etc/imagineo/{{ $party }}
  readOnly: true
{{- end }}
{{- if and .root.Values.blobs.evaluation.enabled (has .name (list "gateway" "catalog" "status" "worker" "job-models")) }}
- name: blobs
  mountPath: /var/lib/imagineo/blobs
{{- end }}
{{- end }}

{{/* Their volumes. In: root, name, scratch (a size). */}}
{{- define "imagineo.volumes" -}}
- name: scratch
  emptyDir: {sizeLimit: {{ .scratch | default "1Gi" }}}
{{- if and .root.Values.mtls.enabled (not (hasPrefix "job" .name)) }}
- name: tls
  secret:
    secretName: {{ include "imagineo.tlsSecret" . }}
    defaultMode: 0440
{{- end }}
{{- range $party, $secret := include "imagineo.authorities" . | fromJson }}
- name: {{ $party }}-ca
  secret:
    secretName: {{ $secret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- if and .root.Values.blobs.evaluation.enabled (has .name (list "gateway" "catalog" "status" "worker" "job-models")) }}
- name: blobs
  persistentVolumeClaim:
    claimName: {{ include "imagineo.name" .root }}-blobs
{{- end }}
{{- end }}
