// Builds the page into dist/, which the gateway's own build embeds. Everything that the page needs is in there.
import { cp, rm, mkdir } from 'node:fs/promises';
import { build } from 'esbuild';

const common = { bundle: true, minify: true, target: ['chrome100', 'firefox100', 'safari15'], logLevel: 'warning' };

await rm('dist', { recursive: true, force: true });
await mkdir('dist');
await cp('public', 'dist', { recursive: true });
await build({ ...common, entryPoints: ['src/main.js', 'src/style.css'], outdir: 'dist', format: 'esm', alias: { '#phone': './src/phone.js' } });
// JsSIP alone, for pages of one's own: /examples/plain-jssip.html uses it.
await build({
  ...common,
  stdin: { contents: "export * from 'jssip';", resolveDir: '.' },
  outfile: 'dist/jssip.js',
  format: 'iife',
  globalName: 'JsSIP',
});
