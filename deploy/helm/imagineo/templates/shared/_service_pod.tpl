{{/* The Deployment of a control service; what is its own comes in. */}}

{{/*
In: root, name, values, and
  environment  items of `env` that only this service has (text)
  graceSeconds how long its pods may take to end, after noticeSeconds
  mounts, volumes  further ones (text); disk: the latters' sizes
*/}}
{{- define "imagineo.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "imagineo.metadata" . | nindent 2 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  {{- if ne .name "gateway" }}
  # Callers look a service's pods up in the cluster's DNS, which may keep an answer for 30 s: an old pod goes once they
  # can know the new one.
  minReadySeconds: 30
  {{- end }}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "imagineo.selector" . | nindent 6 }}
  template:
    metadata:
      {{- include "imagineo.pod.metadata" . | nindent 6 }}
    spec:
      {{- include "imagineo.pod" . | nindent 6 }}
      {{- include "imagineo.spread" . | nindent 6 }}
      terminationGracePeriodSeconds: {{ add .root.Values.noticeSeconds .graceSeconds }}
      containers:
        - name: {{ .name }}
          {{- include "imagineo.container" (dict "root" .root "kind" "control") | nindent 10 }}
          command: [python, -m, services.{{ .name }}]
          env:
            {{- include "imagineo.environment.with" (dict "name" .name "settings" .values.settings "items" (include "imagineo.service.environment" .)) | nindent 12 }}
          {{- if has .name (list "gateway" "catalog" "status") }}
          {{- with include "imagineo.environment.blobsKeys" .root }}{{ trim . | nindent 10 }}{{ end }}
          {{- end }}
          ports:
            - {name: {{ ternary "http" "grpc" (eq .name "gateway") }}, containerPort: {{ include "imagineo.port" .name }}}
            - {name: metrics, containerPort: {{ include "imagineo.port" "metrics" }}}
          {{- include "imagineo.probes" (dict "startSeconds" 60) | nindent 10 }}
          {{- if ne .name "gateway" }}
          lifecycle:
            # Whoever looks its name up finds it no more before it ends; callers that are connected it tells at SIGTERM,
            # and serves on until they have gone. The gateway waits by itself.
            preStop: {sleep: {seconds: {{ .root.Values.noticeSeconds }}}}
          {{- end }}
          resources:
            {{- include "imagineo.resources" (dict "resources" .values.resources "disk" (prepend (.disk | default list) "1Gi")) | nindent 12 }}
          volumeMounts:
            {{- include "imagineo.mounts" . | nindent 12 }}
            {{- with .mounts }}{{ . | nindent 12 }}{{ end }}
      volumes:
        {{- include "imagineo.volumes" . | nindent 8 }}
        {{- with .volumes }}{{ . | nindent 8 }}{{ end }}
{{- end }}

{{/* Environment of a control service but for its settings of the values. In: as above. Out: items of `env`. */}}
{{- define "imagineo.service.environment" -}}
{{ include "imagineo.environment.logs" . }}
- {name: IMAGINEO_LISTEN, value: "0.0.0.0:{{ include "imagineo.port" .name }}"}
- {name: IMAGINEO_METRICS_LISTEN, value: "0.0.0.0:{{ include "imagineo.port" "metrics" }}"}
{{ include "imagineo.environment.tls" . }}
{{ .environment }}
{{- end }}

{{/*
Probes on the metrics port: /startupz is that it has begun, /readyz each dependency, /livez that its loops turn.
In: startSeconds, how long it may take to begin. Out: probe fields of a container.
*/}}
{{- define "imagineo.probes" -}}
startupProbe:
  httpGet: {path: /startupz, port: metrics}
  periodSeconds: 2
  failureThreshold: {{ div .startSeconds 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /livez, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}
