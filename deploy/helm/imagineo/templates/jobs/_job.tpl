{{/* What the jobs have in common. */}}

{{/*
A job that Helm applies like any resource: it runs again when what it does changes, as its name holds a hash of that.
In: root, name (`job-…`), work (text that its name depends on), hook (whether it is one). Out: a Job up to its pod's spec.
*/}}
{{- define "imagineo.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "imagineo.component" . }}{{ if not .hook }}-{{ cat .work (include "imagineo.image" (dict "root" .root "kind" "control")) | sha256sum | trunc 8 }}{{ end }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "imagineo.labels" . | nindent 4 }}
  {{- if .hook }}
  annotations:
    {{- include "imagineo.hook" "0" | nindent 4 }}
  {{- end }}
spec:
  # What it needs may still start: it tries again, less and less often.
  backoffLimit: 12
  activeDeadlineSeconds: {{ .root.Values.migrations.deadlineSeconds }}
  template:
    metadata:
      labels:
        {{- include "imagineo.labels" . | nindent 8 }}
    spec:
      {{- include "imagineo.pod" (dict "root" .root "name" (ternary "job-migrations" "job" (eq .name "job-migrations")) "values" dict) | nindent 6 }}
      restartPolicy: OnFailure
{{- end }}

{{/* In: a weight. Out: annotations of a resource that is there before the release is. */}}
{{- define "imagineo.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}
