import type { initGraphQLTada, TadaDocumentNode } from "gql.tada";
import type { introspection } from "./graphql-env";

interface Setup {
  introspection: introspection;
  disableMasking: true;
  scalars: { DateTime: string; Upload: null };
}

type Graphql = ReturnType<typeof initGraphQLTada<Setup>>;

/** What a document is at run time: its own text and those of its fragments, each once. */
interface Parts {
  parts: string[];
}

/**
 * Declares a GraphQL document. Its types come from `schema.graphql`. The text is sent as it is
 * written, so no parser is part of the bundle.
 */
export const graphql = ((text: string, fragments: Parts[] = []): Parts => ({
  parts: [...new Set([text, ...fragments.flatMap((fragment) => fragment.parts)])],
})) as unknown as Graphql;

/** A document that returns `Data` for `Variables`. */
export type Operation<Data, Variables> = TadaDocumentNode<Data, Variables>;

/** Returns the text of a document with its fragments. */
export function textOf(document: Operation<never, never> | object): string {
  return (document as Parts).parts.join("\n");
}

/** A type of the schema that is an enum or a scalar. */
export type Scalar<Name extends Parameters<Graphql["scalar"]>[0]> = ReturnType<typeof graphql.scalar<Name>>;
