{{/* The Secrets that the release reads and does not make, a line each with their keys. In: root. Out: text. */}}
{{- define "imagineo.secrets" -}}
{{- $lines := list (printf "%s: signing-key, webhooks-keys" .Values.secrets.signing) }}
{{- $dsns := ternary "password" (values .Values.postgres.keys | uniq | sortAlpha | join ", ") .Values.postgres.evaluation.enabled }}
{{- $lines = append $lines (printf "%s: %s" .Values.postgres.existingSecret $dsns) }}
{{- with .Values.nats.existingSecret }}{{ $lines = append $lines (printf "%s: auth, gateway, status, webhooks, worker" .) }}{{ end }}
{{- range list .Values.nats.caSecret .Values.postgres.caSecret .Values.blobs.caSecret | compact | uniq }}{{ $lines = append $lines (printf "%s: ca.crt" .) }}{{ end }}
{{- if and .Values.blobs.existingSecret (not .Values.blobs.evaluation.enabled) }}
{{- $lines = append $lines (printf "%s: what the store signs in with, such as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" .Values.blobs.existingSecret) }}
{{- end }}
{{- with .Values.mail.existingSecret }}{{ $lines = append $lines (printf "%s: url" .) }}{{ end }}
{{- if and .Values.models.hubSecret (or .Values.models.base .Values.models.starter) }}
{{- $lines = append $lines (printf "%s: HF_TOKEN" .Values.models.hubSecret) }}
{{- end }}
{{- if and .Values.mtls.enabled (not .Values.mtls.certManager.enabled) }}
{{- range values .Values.mtls.existingSecrets | uniq | sortAlpha }}{{ $lines = append $lines (printf "%s: tls.crt, tls.key, ca.crt" .) }}{{ end }}
{{- end }}
{{- range $lines }}
     {{ . }}
{{- end }}
{{- end }}
