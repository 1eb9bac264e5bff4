{{/* The Secret with a component's certificate. In: root, name. Out: text. */}}
{{- define "imagineo.tlsSecret" -}}
{{- if .root.Values.mtls.certManager.enabled -}}
{{ include "imagineo.component" . }}-tls
{{- else -}}
{{ get .root.Values.mtls.existingSecrets .name }}
{{- end -}}
{{- end }}
