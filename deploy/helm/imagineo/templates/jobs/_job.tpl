{{/* What the jobs have in common. */}}

{{/*
A job that Helm applies like any resource. What a Job does may not change under its name: so the name holds a hash of all
of it, and whatever changes makes another job, which runs.
In: root, name (`job-…`), containers and volumes (text), hook (whether it is one), deadlineSeconds, tries (after the first),
keepSeconds (how long it stays once it ended; an upgrade after that runs it again; without: until it changes).
*/}}
{{- define "imagineo.job" -}}
{{- $spec := include "imagineo.job.spec" . -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "imagineo.component" . }}{{ if not .hook }}-{{ sha256sum $spec | trunc 8 }}{{ end }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "imagineo.labels" . | nindent 4 }}
  {{- if .hook }}
  annotations:
    {{- include "imagineo.hook" "0" | nindent 4 }}
  {{- end }}
spec:
  {{- $spec | nindent 2 }}
{{- end }}

{{- define "imagineo.job.spec" -}}
# Each try is a pod of its own, and those that failed stay with their logs. The pauses between them double from 10 s to
# 6 minutes: a wrong password is told within a minute or two, what still starts is waited for.
backoffLimit: {{ .tries }}
# A node that goes is no failure.
podFailurePolicy:
  rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: "True"}]}]
activeDeadlineSeconds: {{ .deadlineSeconds }}
{{- with .keepSeconds }}
ttlSecondsAfterFinished: {{ . }}
{{- end }}
template:
  metadata:
    {{- include "imagineo.pod.metadata" (dict "root" .root "name" .name "of" "job") | nindent 4 }}
  spec:
    {{- include "imagineo.pod" (dict "root" .root "name" (ternary "job-migrations" "job" (eq .name "job-migrations")) "values" .root.Values.jobs) | nindent 4 }}
    restartPolicy: Never
    containers:
      {{- .containers | trim | nindent 6 }}
    volumes:
      {{- include "imagineo.volumes" . | nindent 6 }}
{{- end }}

{{/* In: a weight. Out: annotations of a resource that is there before the release is. */}}
{{- define "imagineo.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}
