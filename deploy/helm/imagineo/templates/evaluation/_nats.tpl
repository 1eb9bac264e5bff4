{{/*
The evaluation NATS's configuration: each user may do what its role needs. In: root.
Postgres holds the truth, so it need not sync each message.
*/}}
{{- define "imagineo.natsConfig" -}}
listen: "0.0.0.0:4222"
http: "0.0.0.0:8222"
server_name: nats
max_payload: 8MB
jetstream { store_dir: "/data/jetstream", max_memory_store: 64MB, max_file_store: {{ .Values.nats.evaluation.storage | replace "i" "B" }} }
{{- if .Values.nats.existingSecret }}
authorization {
  users: [
    {{- range $user, $permissions := .Files.Get "files/nats-permissions.json" | fromJson }}
    { user: {{ $user }}, password: ${{ upper $user }}_PASSWORD, permissions: {{ toRawJson $permissions }} }
    {{- end }}
  ]
}
{{- end }}
{{- end }}
