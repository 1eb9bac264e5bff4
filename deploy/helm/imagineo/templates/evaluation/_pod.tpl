{{/* What the pods of the evaluation servers have in common. In: root, user (the id that the image's server runs as). */}}
{{- define "imagineo.evaluation.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  seccompProfile: {type: RuntimeDefault}
{{- include "imagineo.placement" (dict "root" .root "values" .root.Values.evaluation) }}
{{- end }}

{{- define "imagineo.evaluation.container" -}}
imagePullPolicy: IfNotPresent
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
