{{/* Environment variables of the services, by what they speak to. In: root, name. Out: items of `env`. */}}

{{- define "imagineo.environment.logs" -}}
- {name: IMAGINEO_LOG_LEVEL, value: {{ .root.Values.logLevel }}}
# Whatever wants a home or a cache of its own finds it here: the root is read-only.
- {name: HOME, value: /tmp}
{{- with .root.Values.tracing }}
{{- if .endpoint }}
- {name: IMAGINEO_TRACES_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: IMAGINEO_TRACES_RATIO, value: {{ .ratio | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "imagineo.environment.tls" -}}
{{- if .root.Values.mtls.enabled -}}
- {name: IMAGINEO_TLS_CERTIFICATE_FILE, value: /etc/imagineo/tls/tls.crt}
- {name: IMAGINEO_TLS_KEY_FILE, value: /etc/imagineo/tls/tls.key}
- {name: IMAGINEO_TLS_AUTHORITY_FILE, value: /etc/imagineo/tls/ca.crt}
{{- $callers := get (dict "auth" (list "gateway" "test") "catalog" (list "gateway" "worker") "status" (list "gateway" "auth" "worker") "webhooks" (list "gateway")) .name }}
{{- if and $callers .root.Values.mtls.certManager.enabled }}
{{- $names := list }}
{{- range $callers }}{{ $names = append $names (printf "%s.%s.svc" (include "imagineo.component" (dict "root" $.root "name" .)) $.root.Release.Namespace) }}{{ end }}
# Whose certificates may call, as in the NetworkPolicies
- {name: IMAGINEO_TLS_CALLERS, value: {{ concat $names .root.Values.mtls.furtherCallers | join "," | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "imagineo.environment.postgres" -}}
{{- $postgres := .root.Values.postgres -}}
{{- if $postgres.evaluation.enabled -}}
- name: POSTGRES_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $postgres.existingSecret }}, key: password}}
- name: IMAGINEO_POSTGRES_DSN
  value: postgresql://imagineo:$(POSTGRES_PASSWORD)@{{ include "imagineo.name" .root }}-postgres:5432/imagineo
{{- else -}}
- name: IMAGINEO_POSTGRES_DSN
  valueFrom: {secretKeyRef: {name: {{ $postgres.existingSecret }}, key: {{ get $postgres.keys .name }}}}
{{- end }}
{{- if $postgres.caSecret }}
# Of the driver; what a DSN says counts before it.
- {name: PGSSLROOTCERT, value: /etc/imagineo/postgres/ca.crt}
- {name: PGSSLMODE, value: verify-full}
{{- end }}
{{- end }}

{{- define "imagineo.environment.nats" -}}
{{- $nats := .root.Values.nats -}}
- name: IMAGINEO_NATS_URL
  value: {{ include "imagineo.natsUrl" .root | quote }}
{{- if $nats.existingSecret }}
- {name: IMAGINEO_NATS_USER, value: {{ .user | default .name }}}
- name: IMAGINEO_NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $nats.existingSecret }}, key: {{ .user | default .name }}}}
{{- end }}
{{- if $nats.caSecret }}
- {name: IMAGINEO_NATS_AUTHORITY_FILE, value: /etc/imagineo/nats/ca.crt}
{{- end }}
{{- end }}

{{/* In: root. Out: the servers as the services take them. */}}
{{- define "imagineo.natsUrl" -}}
{{- $scheme := ternary "tls" "nats" (ne .Values.nats.caSecret "") -}}
{{- if .Values.nats.evaluation.enabled -}}
nats://{{ include "imagineo.name" . }}-nats:4222
{{- else -}}
{{- $urls := list -}}
{{- range splitList "," .Values.nats.servers }}{{ $urls = append $urls (printf "%s://%s" $scheme (trim .)) }}{{ end -}}
{{ join "," $urls }}
{{- end -}}
{{- end }}

{{- define "imagineo.environment.blobs" -}}
{{- $blobs := .root.Values.blobs -}}
- name: IMAGINEO_BLOBS_URL
{{- $url := $blobs.url }}
{{- if $blobs.caSecret }}
{{- $url = printf "%s%sauthority_file=/etc/imagineo/blobs/ca.crt" $url (ternary "&" "?" (contains "?" $url)) }}
{{- end }}
  value: {{ ternary "file:///var/lib/imagineo/blobs" $url $blobs.evaluation.enabled | quote }}
{{- end }}

{{/* Keys of the object store's Secret become variables. In: root. Out: the field `envFrom`, or nothing. */}}
{{- define "imagineo.environment.blobsKeys" -}}
{{- with .Values.blobs -}}
{{- if and .existingSecret (not .evaluation.enabled) -}}
envFrom:
  - secretRef: {name: {{ .existingSecret }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "imagineo.environment.signing" -}}
- name: IMAGINEO_SIGNING_KEY
  valueFrom: {secretKeyRef: {name: {{ .root.Values.secrets.signing }}, key: signing-key}}
- {name: IMAGINEO_PUBLIC_URL, value: {{ .root.Values.publicUrl | quote }}}
{{- end }}

{{/*
Further settings from the values, which take the place of the chart's own: a variable that is there twice is refused.
In: name, settings, items (text). Out: items of `env`.
*/}}
{{- define "imagineo.environment.with" -}}
{{- $prefix := printf "IMAGINEO_%s_" (upper .name) -}}
{{- $items := list -}}
{{- range fromYamlArray .items }}
{{- if not (and (hasPrefix $prefix .name) (hasKey $.settings (trimPrefix $prefix .name))) }}{{ $items = append $items . }}{{ end }}
{{- end }}
{{- range $key, $value := .settings }}
{{- $items = append $items (dict "name" (print $prefix $key) "value" (toString $value)) }}
{{- end }}
{{- toYaml $items }}
{{- end }}

{{/* Which ports webhook URLs may have: those that the NetworkPolicy lets out. In: root. Out: items of `env`, or nothing. */}}
{{- define "imagineo.environment.webhookPorts" -}}
{{- with .root.Values.networkPolicy }}
{{- if and .enabled .webhookPorts -}}
- {name: IMAGINEO_WEBHOOKS_PORTS, value: {{ join "," .webhookPorts | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Where KEDA asks for the queues' length. In: root. Out: `host:port`. */}}
{{- define "imagineo.natsMonitoring" -}}
{{- if .Values.nats.evaluation.enabled -}}
{{ include "imagineo.name" . }}-nats.{{ .Release.Namespace }}.svc:8222
{{- else -}}
{{ .Values.nats.monitoringEndpoint }}
{{- end -}}
{{- end }}
