{{/* What all pods of the platform have in common. */}}

{{/* Fields of a pod's spec that do not depend on what it runs. In: root, name, values. */}}
{{- define "imagineo.pod" -}}
serviceAccountName: {{ include "imagineo.component" . }}
automountServiceAccountToken: false
# Else Kubernetes adds variables such as IMAGINEO_AUTH_PORT, which read like settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
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

{{/* Mounts that every container has. In: root, name. */}}
{{- define "imagineo.mounts" -}}
- name: scratch
  mountPath: /tmp
{{- if and .root.Values.mtls.enabled (not (hasPrefix "job" .name)) }}
- name: tls
  mountPath: /etc/imagineo/tls
  readOnly: true
{{- end }}
{{- if and .root.Values.nats.caSecret (has .name (list "gateway" "auth" "status" "webhooks" "worker" "job-queues")) }}
- name: nats-ca
  mountPath: /etc/imagineo/nats
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
{{- if and .root.Values.nats.caSecret (has .name (list "gateway" "auth" "status" "webhooks" "worker" "job-queues")) }}
- name: nats-ca
  secret:
    secretName: {{ .root.Values.nats.caSecret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- if and .root.Values.blobs.evaluation.enabled (has .name (list "gateway" "catalog" "status" "worker" "job-models")) }}
- name: blobs
  persistentVolumeClaim:
    claimName: {{ include "imagineo.name" .root }}-blobs
{{- end }}
{{- end }}
